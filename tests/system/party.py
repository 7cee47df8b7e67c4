"""People in rooms, and what each of them heard: so that a test can say that all heard the same.

Everything here runs in the test's own thread. `People.pump` reads what has come to anybody and
does what is due; each frame is kept with the moment in which it was read.
"""

from __future__ import annotations

import base64
import collections
import heapq
import itertools
import random
import select
import time
from collections.abc import Callable, Iterable
from typing import Any

PATIENCE = 10.0
#: Seconds within which a GAP follows the hole that it is about, if not at once: a room is told at
#: most once in a second.
GAP_DELAY = 1.5
ENTERED = "this person has entered the chat with the name "
LEFT = " has left the chat"

Key = tuple[str, str]
"""A message: its sender's member id, and the frame's id."""


class Said:
    """A frame that somebody sent: its type, its place among theirs, when, and what was in it."""

    def __init__(self, kind: str, place: int, text: str) -> None:
        self.kind = kind
        self.place = place
        self.text = text
        self.at = time.monotonic()


class Stay:
    """One connection in a room, from its request to its end."""

    def __init__(self, client: Any, relay: Any, party: Party) -> None:
        self.client = client
        self.relay = relay
        self.party = party
        self.joined: dict[str, Any] = {}
        self.joined_at = self.ended_at = 0.0
        self.asked = ""
        self.refused = ""
        self.leaving = False
        self.heard: list[tuple[float, dict[str, Any]]] = []
        self.said: dict[str, Said] = {}
        self.next_token = ""

    @property
    def member_id(self) -> str:
        return str(self.joined["memberId"])

    @property
    def label(self) -> str:
        return str(self.joined["label"])

    @property
    def ended(self) -> tuple[int, str] | None:
        """How the connection came to its end; None while it goes on."""
        why: tuple[int, str] | None = self.client.ended
        return why

    @property
    def here(self) -> bool:
        """Whether this is a member who can hear, as far as the test knows."""
        return bool(self.joined) and self.ended is None and not self.frames("LEFT")

    def frames(self, kind: str) -> list[dict[str, Any]]:
        return [frame for _, frame in self.heard if frame["t"] == kind]

    def kinds(self, *without: str) -> list[str]:
        """The types of all that was heard, in order."""
        return [frame["t"] for _, frame in self.heard if frame["t"] not in without]

    @property
    def count(self) -> int:
        """How many members the room has, as this one was told last; 0 before it was told."""
        counts = self.frames("ROOM_STATS")
        return counts[-1]["body"]["participants"] if counts else 0

    @property
    def gaps(self) -> int:
        return len(self.frames("GAP"))

    def texts(self) -> list[str]:
        return [frame["body"]["text"] for frame in self.frames("SYSTEM_MSG")]

    def errors(self) -> list[str]:
        return [frame["body"]["code"] for frame in self.frames("ERROR")]

    def take(self) -> None:
        """Read what has come."""
        for frame in self.client.arrived():
            now = time.monotonic()
            body = frame["body"]
            if frame["t"] in ("JOINED", "ROOM_CREATED"):
                self.joined, self.joined_at = body, now
            if "nextToken" in body:
                self.next_token = body["nextToken"]
            if frame["t"] == "ERROR" and frame.get("re") == self.asked and not self.joined:
                self.refused = body["code"]
            self.heard.append((now, frame))
        if self.ended is not None and not self.ended_at:
            self.ended_at = time.monotonic()

    # What one says.

    def _send(self, kind: str, text: str = "", **body: Any) -> str:
        id = f"{self.party.name}-{next(self.party.people.ids):08d}"
        self.said[id] = Said(kind, len(self.said), text)
        try:
            self.client.send(kind, id, **body)
        except OSError:
            self.take()  # the other end has closed, and is to be heard for what it said before
        return id

    def say(self, text: str = "") -> str:
        text = text or base64.urlsafe_b64encode(self.party.random.randbytes(24)).decode()
        return self._send("APP_MSG", text, roomId=self.party.room_id, ciphertextB64=text)

    def show(self) -> str:
        text = base64.urlsafe_b64encode(self.party.random.randbytes(24)).decode()
        return self._send(
            "MEDIA_MSG",
            text,
            roomId=self.party.room_id,
            mime="image/png",
            size=24,
            chunkSize=1024,
            chunks=[text],
        )

    def ping(self) -> str:
        return self._send("PING")

    def leave(self) -> str:
        self.leaving = True
        return self._send("LEAVE", roomId=self.party.room_id)

    def answers(self) -> list[str]:
        """The ids of own frames in the order in which they were answered, each with anything."""
        found = []
        for _, frame in self.heard:
            if frame["t"] == "APP_MSG" and frame["body"]["memberId"] == self.member_id:
                found.append(frame["id"])
            elif frame.get("re") in self.said:
                found.append(frame["re"])
        return [id for id in found if id in self.said]

    def unanswered(self) -> list[str]:
        answered = set(self.answers())
        return [id for id in self.said if id not in answered]

    def sequence(self) -> list[Key]:
        """The messages heard, in order. An ACK counts as hearing one's own media."""
        return [key for _, key in self.timed()]

    def timed(self) -> list[tuple[float, Key]]:
        """The same, each with when it was read."""
        found = []
        for at, frame in self.heard:
            if frame["t"] in ("APP_MSG", "MEDIA_MSG"):
                found.append((at, (frame["body"]["memberId"], frame["id"])))
            elif frame["t"] == "ACK":
                found.append((at, (self.member_id, frame["re"])))
        return found

    def told_gap(self, after: float, before: float) -> bool:
        """Whether a GAP was told, or the connection ended, between these times."""
        gaps = [at for at, frame in self.heard if frame["t"] in ("GAP", "LEFT")]
        return any(after <= at <= before for at in (*gaps, self.ended_at))


class People:
    """All connections of a test, in whichever rooms, and what is to happen when."""

    def __init__(self, seed: int = 1) -> None:
        self.random = random.Random(seed)
        self.ids = itertools.count(1)
        self.parties: list[Party] = []
        self._due: list[tuple[float, int, Callable[[], Any]]] = []
        self._order = itertools.count()

    def party(self, name: str = "party") -> Party:
        """A room to be."""
        party = Party(self, f"{name}-{len(self.parties)}")
        self.parties.append(party)
        return party

    def hang_up(self) -> None:
        """All go, without a word."""
        for party in self.parties:
            for stay in party.stays:
                stay.client.close()

    def after(self, seconds: float, act: Callable[[], Any]) -> None:
        """Do this at that time from now, while somebody pumps."""
        heapq.heappush(self._due, (time.monotonic() + seconds, next(self._order), act))

    @property
    def busy(self) -> bool:
        """Whether something is still to be done."""
        return bool(self._due)

    def pump(self, seconds: float = 0.01) -> None:
        """Wait that long at most for anything to come, read it all, and do what is due."""
        stays = [s for p in self.parties for s in p.stays if s.ended is None]
        if self._due:
            seconds = min(seconds, max(0.0, self._due[0][0] - time.monotonic()))
        # poll(2): select(2) knows no descriptors over 1024.
        ready = select.poll()
        for stay in stays:
            if stay.client.socket.fileno() < 0:
                stay.take()  # closed by the test itself
            else:
                ready.register(stay.client.socket, select.POLLIN)
        came = {fd for fd, _ in ready.poll(seconds * 1000)}
        for stay in stays:
            if stay.client.socket.fileno() in came:
                stay.take()
        while self._due and self._due[0][0] <= time.monotonic():
            heapq.heappop(self._due)[2]()

    def until(self, probe: Callable[[], Any], what: str, patience: float = PATIENCE) -> Any:
        """Pump until the answer is true, and return it."""
        ends = time.monotonic() + patience
        while not (answer := probe()):
            assert time.monotonic() < ends, f"{what} did not come about in {patience} s"
            self.pump()
        return answer

    def spend(self, seconds: float) -> None:
        """Pump for that long: for what takes its time, never for what is to be waited for."""
        ends = time.monotonic() + seconds
        while (left := ends - time.monotonic()) > 0:
            self.pump(min(0.01, left))


class Party:
    """One room and all who ever were in it."""

    def __init__(self, people: People, name: str) -> None:
        self.people = people
        self.name = name
        self.random = people.random
        self.room_id = ""
        self.room: dict[str, Any] = {}
        self.stays: list[Stay] = []

    @property
    def here(self) -> list[Stay]:
        return [stay for stay in self.stays if stay.here]

    # Coming.

    def create(self, relay: Any, **body: Any) -> Stay:
        stay = Stay(relay.connect(), relay, self)
        self.stays.append(stay)
        stay.asked = stay.client.send("ROOM_CREATE", **body)
        self.people.until(lambda: stay.joined and stay.count, "ROOM_CREATED and its ROOM_STATS")
        self.room = stay.joined
        self.room_id = self.room["roomId"]
        return stay

    def ask(self, relay: Any, token: str = "", **body: Any) -> Stay:
        """Send a JOIN_REQUEST, and wait for nothing."""
        token = token or relay.http_token(self.room_id)
        stay = Stay(relay.connect(), relay, self)
        self.stays.append(stay)
        stay.asked = stay.client.send("JOIN_REQUEST", roomId=self.room_id, token=token, **body)
        return stay

    def join(self, relay: Any, token: str = "", **body: Any) -> Stay:
        """Come in, and be told how many are there."""
        stay = self.ask(relay, token, **body)
        self.people.until(
            lambda: (stay.joined and stay.count) or stay.refused or stay.ended, "an answer"
        )
        assert stay.joined, (stay.refused, stay.ended)
        return stay

    def gather(self, *relays: Any) -> list[Stay]:
        """A room with one member on each of these, in order, who all know of each other."""
        stays = [self.create(relays[0]), *(self.join(relay) for relay in relays[1:])]
        self.counted(len(relays))
        return stays

    def counted(self, number: int | None = None, patience: float = PATIENCE) -> None:
        """Wait until all who are here know that they are so many, or just how many they are."""

        def agreed() -> bool:
            here = self.here
            wanted = len(here) if number is None else number
            return all(stay.count == wanted for stay in here) and (bool(here) or not wanted)

        try:
            self.people.until(agreed, "", patience)
        except AssertionError:
            told = [(s.label, s.member_id[:4], s.relay.port, s.count) for s in self.here]
            raise AssertionError(f"{self.name}: not {number} everywhere: {told}") from None

    # Talking.

    def chatter(self, stays: Iterable[Stay], messages: int, seconds: float, **kinds: int) -> None:
        """Plan that each of these says so much at random times; `kinds` are weights of the things
        that one can do, ``say`` alone by default."""
        names, weights = zip(*(kinds or {"say": 1}).items(), strict=True)
        for stay in stays:
            for _ in range(messages):
                name = self.random.choices(names, weights)[0]
                self.people.after(self.random.uniform(0, seconds), self._act(stay, name))

    @staticmethod
    def _act(stay: Stay, name: str) -> Callable[[], Any]:
        return lambda: getattr(stay, name)() if stay.here and not stay.leaving else None

    def settled(self, patience: float = PATIENCE) -> None:
        """Wait until nothing is planned, and everything that was said and is due has come."""
        self.people.until(
            lambda: (
                not self.people.busy
                and not any(stay.unanswered() for stay in self.here)
                and not self._missing()
            ),
            f"{self.name}: all that was said at everybody who is here",
            patience,
        )

    def whole(self, patience: float = PATIENCE) -> None:
        """Wait until what each of them says is heard by all, and nobody is told GAP any more."""

        def is_whole() -> bool:
            gaps = sum(stay.gaps for stay in self.here)
            for stay in self.here:
                stay.say()
            self.settled(patience)
            self.counted(patience=patience)
            return sum(stay.gaps for stay in self.here) == gaps

        self.people.until(is_whole, f"{self.name}: a round without a GAP", patience)

    # The promise.

    def check(self, gaps: bool = False, refusals: Iterable[str] = ()) -> None:
        """One order, none lost, none twice, for everybody who was ever here.

        Args:
            gaps: whether anybody may have been told GAP, and so miss something.
            refusals: error codes that a message may have been answered with.
        """
        sayings = self._sayings()
        for stay in self.stays:
            for at, frame in stay.heard:
                if frame["t"] in ("APP_MSG", "MEDIA_MSG"):
                    self._genuine(stay, at, frame, sayings)
            self._answered_in_order(stay, set(refusals))
            heard = stay.sequence()
            assert len(heard) == len(set(heard)), f"twice: {_repeated(heard)}"
            assert gaps or not stay.gaps, f"{self.name}: a GAP at {stay.label}"
        self._one_order()
        self._no_holes()
        missing = self._missing()
        assert not missing, f"never heard, and no GAP told: {missing[:5]}"
        silent = [(stay.label, stay.unanswered()) for stay in self.here if stay.unanswered()]
        assert not silent, f"neither handed to the room nor refused: {silent}"

    def _sayings(self) -> dict[Key, Said]:
        return {
            (stay.member_id, id): said
            for stay in self.stays
            if stay.joined
            for id, said in stay.said.items()
            if said.kind in ("APP_MSG", "MEDIA_MSG")
        }

    def _genuine(
        self, stay: Stay, at: float, frame: dict[str, Any], sayings: dict[Key, Said]
    ) -> None:
        """What was heard is what was said, by whom it was said, by a member, to a member."""
        body = frame["body"]
        said = sayings.get((body["memberId"], frame["id"]))
        assert said is not None, f"{self.name}: nobody said {frame}"
        assert said.kind == frame["t"]
        assert said.text == (
            body["chunks"][0] if frame["t"] == "MEDIA_MSG" else body["ciphertextB64"]
        )
        assert frame["t"] == "APP_MSG" or body["memberId"] != stay.member_id, "one's own media"
        assert stay.joined, "heard before JOINED"
        assert at >= stay.joined_at
        assert "re" not in frame

    def _answered_in_order(self, stay: Stay, refusals: set[str]) -> None:
        answers = stay.answers()
        assert len(answers) == len(set(answers)), f"answered twice: {_repeated(answers)}"
        places = [stay.said[id].place for id in answers]
        assert places == sorted(places), f"{stay.label}: answered out of order"
        expected = {"APP_MSG": "APP_MSG", "MEDIA_MSG": "ACK", "PING": "PONG", "LEAVE": "LEFT"}
        for _, frame in stay.heard:
            said = stay.said.get(frame.get("re", ""))
            if said is not None and frame["t"] == "ERROR":
                assert frame["body"]["code"] in refusals, (stay.label, said.kind, frame)
            elif said is not None:
                assert frame["t"] == expected[said.kind]
        if (left := stay.kinds().count("LEFT")) and left == 1:
            after = stay.kinds()[stay.kinds().index("LEFT") + 1 :]
            assert not {"APP_MSG", "MEDIA_MSG", "GAP"} & set(after), "heard after LEFT"

    def _one_order(self) -> None:
        """There is an order that all that was heard by anybody agrees with (Kahn's algorithm)."""
        after: dict[Key, set[Key]] = collections.defaultdict(set)
        before: collections.Counter[Key] = collections.Counter()
        keys: dict[Key, None] = {}
        for sequence in [stay.sequence() for stay in self.stays] + self._orders_of_saying():
            keys |= dict.fromkeys(sequence)
            for first, second in itertools.pairwise(sequence):
                if second not in after[first]:
                    after[first].add(second)
                    before[second] += 1
        free = [key for key in keys if not before[key]]
        placed = 0
        while free:
            key = free.pop()
            placed += 1
            for later in after[key]:
                before[later] -= 1
                if not before[later]:
                    free.append(later)
        tangled = [key for key in keys if before[key]]
        assert placed == len(keys), f"{self.name}: no one order; around {tangled[:6]}"

    def _orders_of_saying(self) -> list[list[Key]]:
        """What was heard of each stay, in the order in which it was said there."""
        known = {key for stay in self.stays for key in stay.sequence()}
        return [
            [(stay.member_id, id) for id in stay.said if (stay.member_id, id) in known]
            for stay in self.stays
            if stay.joined
        ]

    def _no_holes(self) -> None:
        """Between two messages that one heard without a GAP, others heard nothing more."""
        sayings = self._sayings()
        for stay in [stay for stay in self.stays if stay.joined]:
            times = {key: at for at, key in stay.timed()}
            for other in self.stays:
                missed: list[Key] = []
                last = None
                for key in other.sequence():
                    if key not in times:
                        if not self._is_own_media(stay, key, sayings):
                            missed.append(key)
                        continue
                    assert (
                        last is None
                        or not missed
                        or stay.told_gap(times[last], times[key] + GAP_DELAY)
                    ), f"{self.name}: {self._story(stay, times[last], times[key], missed)}"
                    last, missed = key, []

    @staticmethod
    def _is_own_media(stay: Stay, key: Key, sayings: dict[Key, Said]) -> bool:
        """Media goes to all others: not to the member who sent it on an earlier connection."""
        return key[0] == stay.member_id and sayings[key].kind == "MEDIA_MSG"

    def _story(self, stay: Stay, after: float, before: float, missed: list[Key]) -> str:
        """Around a silent hole: what everybody heard then, for whoever has to find the reason."""
        lines = [
            f"{stay.label} {stay.member_id[:4]} has a silent hole at {after:.3f}: {missed[:5]}"
        ]
        for other in self.stays:
            if not other.joined:
                continue
            lines.append(
                f"{other.label} {other.member_id[:4]} on {other.relay.port}"
                f" joined {other.joined_at - after:.3f} ended {other.ended}"
            )
            for at, frame in other.heard:
                if after - 0.5 < at < before + 0.5:
                    told = [frame["body"].get(n, "") for n in ("participants", "text", "code")]
                    lines.append(f"    {at - after:.3f} {frame['t']} {frame['id']} {told}")
        return "\n".join(lines)

    def _missing(self) -> list[tuple[str, Key]]:
        """Messages that somebody heard, said after another had JOINED, and that this one, who is
        still there, neither heard nor was told GAP of."""
        sayings = self._sayings()
        known = {key for stay in self.stays for key in stay.sequence()}
        found = []
        for stay in self.here:
            gap = max((at for at, frame in stay.heard if frame["t"] == "GAP"), default=0.0)
            heard = set(stay.sequence())
            found += [
                (stay.label, key)
                for key in known - heard
                if key in sayings
                and sayings[key].at > max(stay.joined_at, gap)
                and not self._is_own_media(stay, key, sayings)
            ]
        return found


def _repeated(items: Iterable[Any]) -> list[Any]:
    return [item for item, times in collections.Counter(items).items() if times > 1][:5]
