"""What must be true of what everybody heard: checkers over transcripts, without a relay in sight.

A transcript is what one connection sent and heard. Each checker returns complaints, each a line
that begins with the name of the promise; none means that the promise was kept. `test_verdicts.py`
holds that each of them can fail.
"""

import collections
import itertools

import attrs

MESSAGES = ("APP_MSG", "MEDIA_MSG")
CAME = "this person has entered the chat with the name "
WENT = " has left the chat"


@attrs.define
class Sent:
    at: float
    kind: str
    id: str
    room_id: str | None = None


@attrs.define
class Transcript:
    """One connection.

    Attributes:
        sent: `Sent`, in order.
        heard: times and frames, in order.
        outside: indexes of those that were heard while the store did not count this one.
        ended: when it was over; None while it goes on.
    """

    name: str
    sent: list = attrs.Factory(list)
    heard: list = attrs.Factory(list)
    outside: set = attrs.Factory(set)
    ended: float | None = None
    why: str = ""


@attrs.define(eq=False)
class Stay:
    """A connection's time in one room.

    Attributes:
        messages: index in the transcript, time, key; the ACK stands for one's own media. A key
            is the sender's member id and the frame's id.
        gaps: index and time of each GAP.
        met: for each label, the index at which this one heard last that its bearer came.
    """

    transcript: Transcript
    room_id: str
    member_id: str
    label: str
    resumed: bool
    start: float
    end: float | None = None
    messages: list = attrs.Factory(list)
    gaps: list = attrs.Factory(list)
    met: dict = attrs.Factory(dict)

    @property
    def name(self):
        return self.transcript.name


def stays_in(transcript):
    """The stays of a connection, in order."""
    stays, stay = [], None
    kinds = {sent.id: sent.kind for sent in transcript.sent}
    for index, (at, frame) in enumerate(transcript.heard):
        kind, body = frame["t"], frame["body"]
        if kind in ("JOINED", "ROOM_CREATED"):
            resumed = body.get("resumed", False)
            stay = Stay(
                transcript, body["roomId"], body["memberId"], body.get("label"), resumed, at
            )
            stays.append(stay)
        elif stay is None:
            continue
        elif kind == "LEFT":
            stay.end, stay = at, None
        elif kind in MESSAGES:
            stay.messages.append((index, at, (body["memberId"], frame["id"])))
        elif kind == "ACK" and kinds.get(frame["re"]) == "MEDIA_MSG":
            stay.messages.append((index, at, (stay.member_id, frame["re"])))
        elif kind == "GAP":
            stay.gaps.append((index, at))
        elif kind == "SYSTEM_MSG" and body["text"].startswith(CAME):
            stay.met[body["text"].removeprefix(CAME)] = index
    if stay is not None:
        stay.end = transcript.ended
    return stays


def by_room(transcripts):
    rooms = collections.defaultdict(list)
    for transcript in transcripts:
        for stay in stays_in(transcript):
            rooms[stay.room_id].append(stay)
    return rooms


def at_most_once(transcripts):
    """No connection hears a message twice."""
    return [
        f"at most once: {t.name} heard {key[1]} {count} times"
        for t in transcripts
        for key, count in collections.Counter(
            key for stay in stays_in(t) for _, _, key in stay.messages
        ).items()
        if count > 1
    ]


def one_order(transcripts):
    """There is one order of a room's messages in which everybody heard what they heard."""
    complaints = []
    for stays in by_room(transcripts).values():
        places = [(stay, {key: n for n, (_, _, key) in enumerate(stay.messages)}) for stay in stays]
        complaints += _crossed_pairs(places)
        if not complaints and _has_cycle(stays):
            complaints.append("one order: no two differ, but all together fit no order")
    return complaints


def _crossed_pairs(places):
    for n, (one, _) in enumerate(places):
        for other, theirs in places[n + 1 :]:
            highest = None
            for _, _, key in one.messages:
                place = theirs.get(key)
                if place is None:
                    continue
                if highest is not None and place < highest[0]:
                    yield (
                        f"one order: {one.name} heard {highest[1]} before {key[1]}, "
                        f"{other.name} after"
                    )
                    break
                highest = (place, key[1])


def _has_cycle(stays):
    following = collections.defaultdict(set)
    waits_for = collections.Counter()
    for stay in stays:
        keys = [key for _, _, key in stay.messages]
        for before, after in itertools.pairwise(keys):
            if after not in following[before]:
                following[before].add(after)
                waits_for[after] += 1
    free = [key for key in following if not waits_for[key]]
    met = 0
    while free:
        met += 1
        for after in following.pop(free.pop(), ()):
            waits_for[after] -= 1
            if not waits_for[after]:
                free.append(after)
    return any(waits_for.values())


def own_order_kept(transcripts):
    """What one connection sent is heard everywhere in the order in which it was sent."""
    sent = {s.id: (t.name, n) for t in transcripts for n, s in enumerate(t.sent)}
    complaints = []
    for transcript in transcripts:
        for stay in stays_in(transcript):
            last = {}
            for _, _, (_, id) in stay.messages:
                sender, n = sent[id]
                if n < last.get(sender, -1):
                    complaints.append(f"own order: {stay.name} heard {id} of {sender} too late")
                last[sender] = n
    return complaints


def no_silent_hole(transcripts, healthy, bound, now):
    """From its JOINED to its end each connection hears what anybody in the room heard meanwhile;
    or is told GAP afterwards, or comes to its end.

    Meanwhile is: sent after the JOINED; or heard by another after it was told that this one came;
    or heard by others after something that this one heard, and before something else that it
    heard. (By the clock alone it cannot be said: one instance hands out a little later than
    another.) Of its own member's media one hears nothing; what one said oneself is about answers;
    and what one's own member still says on the connection from which it has gone is void.
    What was heard only by those whom the room did not count any more, and who went before they
    found out, nobody else can know of: an instance that is cut off lets its members go on.

    Args:
        healthy: seconds without trouble between two times.
        bound: how many of those may pass until GAP or the end.
        now: when the transcripts end.
    """
    sent = {s.id: s for t in transcripts for s in t.sent}
    ended_at = {s.id: t.ended for t in transcripts for s in t.sent}
    complaints = []
    for stays in by_room(transcripts).values():
        first, hearers = {}, collections.defaultdict(list)
        for stay in stays:
            found_out = max((index for index, _ in stay.gaps), default=-1)
            for n, (index, at, key) in enumerate(stay.messages):
                if index not in stay.transcript.outside or index < found_out:
                    first[key] = min(at, first.get(key, at))
                    hearers[key].append((stay, n))
        for stay in stays:
            own = {s.id for s in stay.transcript.sent}
            mine = {key: index for index, _, key in stay.messages}
            for key in first.keys() - mine.keys():
                member_id, id = key
                sender_left = ended_at[id] is not None and ended_at[id] < stay.start
                if id in own or (
                    member_id == stay.member_id
                    and (not sender_left or sent[id].kind == "MEDIA_MSG")
                ):
                    continue
                label = None if stay.resumed else stay.label
                after, before, met = _neighbours(hearers[key], mine, label)
                ended = now if stay.end is None else stay.end
                since_joined = first[key] < ended and (stay.start < sent[id].at or met)
                if not since_joined and not (after >= 0 and before):
                    continue
                if healthy(first[key], ended) <= bound or any(
                    index > after and at >= sent[id].at and healthy(first[key], at) <= bound
                    for index, at in stay.gaps
                ):
                    continue
                heard = ", ".join(other.name for other, _ in hearers[key])
                complaints.append(
                    f"silent hole: {stay.name} never heard {id}, which {heard} heard first "
                    f"at {first[key]:.3f}"
                )
    return complaints


def _neighbours(hearers, mine, label):
    """Where in my transcript stands the last message that others heard before this one; whether I
    heard one that others heard after it; whether others heard it after they heard that I came."""
    after, before, met = -1, False, False
    for other, n in hearers:
        met = met or other.met.get(label, other.messages[n][0]) < other.messages[n][0]
        for m, (_, _, key) in enumerate(other.messages):
            if key in mine:
                if m < n:
                    after = max(after, mine[key])
                before = before or m > n
    return after, before, met


def answers_in_order(transcripts, complete):
    """Each frame has one answer, in the order in which the frames were sent; `complete`: and none
    is left without, unless the connection is over."""
    complaints = []
    for transcript in transcripts:
        own = {sent.id for sent in transcript.sent}
        answers = [
            frame["re"] if "re" in frame else frame["id"]
            for _, frame in transcript.heard
            if frame.get("re") in own or (frame["t"] in MESSAGES and frame["id"] in own)
        ]
        asked = [sent.id for sent in transcript.sent]
        if answers != asked[: len(answers)]:
            n = next(n for n, id in enumerate(answers) if asked[n : n + 1] != [id])
            due = asked[n] if n < len(asked) else "nothing"
            complaints.append(
                f"answers: {transcript.name} was answered {answers[n]} where {due} was due"
            )
        elif complete and transcript.ended is None and len(answers) < len(asked):
            complaints.append(f"answers: {transcript.name} waits for {asked[len(answers)]}")
    return complaints


def no_trouble_told(transcripts, allowed=()):
    """Where nothing went wrong, nobody is told so."""
    return [
        f"no trouble: {t.name} heard {frame['t']} {frame['body'].get('code', '')} at {at:.3f}"
        for t in transcripts
        for at, frame in t.heard
        if frame["t"] == "GAP" or (frame["t"] == "ERROR" and frame["body"]["code"] not in allowed)
    ]


def counts_told(transcripts, true_count):
    """What each present member heard last of its room's size is the truth."""
    complaints = []
    for transcript in transcripts:
        stays = stays_in(transcript)
        if transcript.ended is not None or not stays or stays[-1].end is not None:
            continue
        told = [
            frame["body"]["participants"]
            for _, frame in transcript.heard
            if frame["t"] == "ROOM_STATS"
        ]
        truth = true_count(stays[-1].room_id)
        if not told or told[-1] != truth:
            last = told[-1] if told else "nothing"
            complaints.append(f"counts: {transcript.name} was last told {last}, not {truth}")
    return complaints


def roster_told(transcripts, labels_of, steady):
    """Who came and went, as each present member was told, fits those who are there.

    Args:
        labels_of: the labels of those who are in a room; all people's labels differ.
        steady: the labels to look at: of those who never took a seat back, which is not told.
    """
    complaints = []
    for transcript in transcripts:
        stays = stays_in(transcript)
        if transcript.ended is not None or not stays or stays[-1].end is not None:
            continue
        here = labels_of(stays[-1].room_id)
        for label, events in _came_and_went(transcript, stays[-1].start).items():
            wrong = events[-1] != ("came" if label in here else "went")
            doubled = any(a == b for a, b in itertools.pairwise(events))
            if label in steady and (wrong or doubled):
                complaints.append(
                    f"roster: {transcript.name} was told that {label} {', '.join(events)}; "
                    f"there now: {label in here}"
                )
    return complaints


def _came_and_went(transcript, since):
    told = collections.defaultdict(list)
    for at, frame in transcript.heard:
        if frame["t"] == "SYSTEM_MSG" and at >= since:
            text = frame["body"]["text"]
            if text.startswith(CAME):
                told[text.removeprefix(CAME)].append("came")
            else:
                told[text.removesuffix(WENT)].append("went")
    return told
