"""Plays: what people do and what goes wrong in a simulated world, drawn from one seed.

A plan is a list of steps, each a time to wait, a name and three numbers that choose whom and how
long. So a plan stays a plan when steps are taken out: a play that fails can be cut down to a short
story (`shrunk`).
"""

import collections
import random

import attrs
import verdicts
from simulated import World

SESSION = {
    "max_msgs_per_10s": 10_000,
    "ping_interval_ms": 40_000,
    "ping_timeout_ms": 20_000,
    "join_timeout_ms": 3_600_000,
}
ROOMS = {
    "max_participants": 5,
    "key_ttl_ms": 120_000,
    "empty_grace_ms": 15_000,
    "qr_rotation_ms": 25_000,
}
MOST_PEOPLE = 20
MOST_ROOMS = 2
#: Seconds without trouble in which GAP, or the end, must follow a hole; and in which all is well
#: again: a lease and the grace of its reaping, a renewal, a recovery.
SOON = 20.0
CALM = 30.0
#: What a person may be told though nothing went wrong.
HARMLESS = (
    "ERR_NOT_IN_ROOM",
    "ERR_NO_ROOM",
    "ERR_ROOM_FULL",
    "ERR_TOKEN_EXPIRED",
    "ERR_TOKEN_REPLAY",
)

PEOPLE = {
    "create": 1,
    "come": 8,
    "come_by_qr": 3,
    "come_back": 6,
    "leave": 5,
    "vanish": 5,
    "tell": 30,
    "tell_and_go": 4,
    "all_tell": 8,
    "show": 6,
    "ping": 2,
    "wait": 4,
}
FAULTS = {
    "slow": {"slow": 8},
    "commands": {"cut_store": 4, "silent_store": 4, "slow": 2},
    "bus": {"cut_bus": 5, "silent_bus": 6, "slow": 2},
    "links": {"cut_store": 2, "silent_store": 2, "cut_bus": 3, "silent_bus": 3, "cut_both": 2},
    "stalls": {"stall": 8, "stall_all": 1, "slow": 1},
    "deaths": {"die": 3, "drain": 2, "start": 4, "slow": 1},
    "store": {"restart": 3, "restart_empty": 3, "hang": 3, "forget": 4},
    "snapshots": {"save": 8, "restart_as_saved": 4, "cut_bus": 1},
}
PROFILES = [
    (),
    ("slow",),
    ("commands",),
    ("bus",),
    ("stalls",),
    ("deaths",),
    ("store",),
    ("links", "stalls"),
    ("store", "bus"),
    ("slow", "links", "stalls", "deaths", "store"),
    ("snapshots",),
]


@attrs.frozen
class Step:
    wait: float
    name: str
    numbers: tuple

    def __str__(self):
        return f"Step({self.wait!r}, {self.name!r}, {self.numbers!r})"


def plan(seed):
    """The steps of a play."""
    random_ = random.Random(seed)
    weights = dict(PEOPLE)
    profile = PROFILES[seed % len(PROFILES)]
    for group in profile:
        for name, weight in FAULTS[group].items():
            weights[name] = weights.get(name, 0) + weight
    if not profile and seed // len(PROFILES) % 2:
        del weights["come_back"]
    names, shares = list(weights), list(weights.values())
    steps = [Step(0.0, "create", (random_.randrange(60), 0, 0))]
    steps += [
        Step(random_.choice((0.0, 0.3)), "come", (random_.randrange(60), 0, 0))
        for _ in range(random_.randint(1, 4))
    ]
    pace = random_.choice((0.01, 0.3, 1.0, 1.0))
    for _ in range(random_.randint(8, 50)):
        wait = pace * random_.choice((0.0, 0.0, 0.001, 0.01, 0.05, 0.3, 1.0, 3.0, 9.0))
        name = random_.choices(names, shares)[0]
        numbers = (random_.randrange(60), random_.randrange(60), random_.randrange(60))
        steps.append(Step(wait * random_.uniform(0.5, 1.5), name, numbers))
    return steps


class Play:
    """One run of a plan, and what is to be said of it.

    Attributes:
        complaints: lines, each of which begins with the name of a promise that was broken.
        told: the story, a line for each step.
    """

    def __init__(self, seed, steps):
        self.complaints = []
        self.told = []
        self._steps = steps
        #: Members whose seat somebody wanted back.
        self._wanted_back = set()
        self._saved = None
        instances = (3, 3, 2, 4)[seed // len(PROFILES) % 4]
        self.world = World(seed, instances, session=SESSION, rooms=ROOMS)

    def run(self):
        for step in self._steps:
            self.world.pass_time(step.wait)
            before = len(self.world.people)
            done = getattr(self, step.name)(*step.numbers)
            new = [f"{p.transcript.name}" for p in self.world.people[before:]]
            self._tell(f"{step.name} {done or ''} {' '.join(new)}")
            self._look_at_seats()
        self._find_calm()
        self._judge_the_calm()
        shown = self._qr_tokens()
        self._everybody_tells()
        self._judge_qr_tokens(shown)
        self._judge_it_all()
        self._everybody_goes()
        self._look_for_bugs()
        for instance in self.world.instances:
            if not instance.alive:
                instance.bury()
        return self

    def _tell(self, text):
        self.told.append(f"{self.world.now:9.3f} {text.rstrip()}")

    # People.

    def _instance(self, number):
        living = self.world.living
        return living[number % len(living)]

    def _room(self, number):
        rooms = self.world.room_ids
        return rooms[number % len(rooms)] if rooms else None

    def _member(self, number):
        members = [person for person in self.world.people if person.is_member]
        return members[number % len(members)] if members else None

    def _newcomer(self, number):
        if len(self.world.people) >= MOST_PEOPLE:
            return None
        return self.world.person(self._instance(number))

    def create(self, where, _, __):
        if len(self.world.room_ids) < MOST_ROOMS:
            person = self._newcomer(where)
            if person is not None:
                person.create(f"L-{person.name}")

    def come(self, where, which, _):
        room_id = self._room(which)
        person = self._newcomer(where) if room_id else None
        if person is not None:
            person.join(room_id, self.world.token(room_id), f"L-{person.name}")

    def come_by_qr(self, where, who, _):
        member = self._member(who)
        if member is None or member.qr_token is None:
            return
        person = self._newcomer(where)
        if person is not None:
            person.join(member.room_id, member.qr_token, f"L-{person.name}")

    def come_back(self, where, who, nth):
        known = [person for person in self.world.people if person.next_tokens]
        if not known:
            return ""
        old = known[who % len(known)]
        room_id = next(
            frame["body"]["roomId"]
            for _, frame in reversed(old.transcript.heard)
            if "nextToken" in frame["body"]
        )
        token = old.next_tokens[-1 - (nth % 4 == 0 and len(old.next_tokens) > 1)]
        person = self._newcomer(where)
        if person is None:
            return ""
        person.join(room_id, token)
        self._wanted_back.add(old.member_id)
        return f"in the seat of {old.name}"

    def leave(self, who, _, __):
        member = self._member(who)
        if member is not None:
            member.leave()
            return member.name
        return ""

    def vanish(self, who, _, __):
        people = [person for person in self.world.people if not person.over]
        if people:
            people[who % len(people)].vanish()
            return people[who % len(people)].name
        return ""

    def tell(self, who, times, _):
        member = self._member(who)
        if member is None:
            return ""
        for _ in range(1 + times % 3):
            member.tell()
        return f"{member.name} {1 + times % 3} times"

    def tell_and_go(self, who, how, _):
        member = self._member(who)
        if member is None:
            return ""
        member.tell()
        if how % 2:
            member.leave()
        else:
            member.vanish()
        return f"{member.name} {'leaves' if how % 2 else 'vanishes'}"

    def all_tell(self, _, __, ___):
        for person in self.world.people:
            if person.is_member:
                person.tell()

    def show(self, who, _, __):
        member = self._member(who)
        if member is not None:
            member.show()
            return member.name
        return ""

    def ping(self, who, _, __):
        people = [person for person in self.world.people if not person.over]
        if people:
            people[who % len(people)].say("PING")

    def wait(self, _, __, seconds):
        self.world.pass_time(seconds / 4)

    # What goes wrong.

    def _fault(self, name):
        self.world.faults.add(name)

    def slow(self, where, which, seconds):
        self._fault("slow")
        world, instance = self.world, self._instance(where)
        lines = ("command", "reply", "publish", "subscribe", "deliver")
        line, slowest = lines[which % 5], (0.1, 0.3, 0.9, 3.0)[which % 4]
        instance.delays.slow[line] = slowest
        world.trouble(+1)

        def over():
            instance.delays.slow.pop(line, None)
            world.trouble(-1)

        world.at(world.now + seconds / 3, over)
        return f"{instance.name} {line} by {slowest} for {seconds / 3:.1f} s"

    def cut_store(self, where, _, seconds):
        self._fault("store link")
        self._instance(where).store.keep_away(seconds / 4)
        return f"{self._instance(where).name} for {seconds / 4} s"

    def silent_store(self, where, which, seconds):
        self._fault("store link")
        store = self._instance(where).store
        lines = [line for n, line in enumerate(store.lines) if which % 3 in (n, 2)]
        store.silence(lines, seconds / 8)
        return f"{self._instance(where).name} {which % 3} for {seconds / 8} s"

    def cut_bus(self, where, _, seconds):
        self._fault("bus link")
        self._instance(where).bus.keep_away(seconds / 4)
        return f"{self._instance(where).name} for {seconds / 4} s"

    def silent_bus(self, where, which, seconds):
        self._fault("bus link")
        bus = self._instance(where).bus
        lines = [line for n, line in enumerate(bus.lines) if which % 4 in (n, 3)]
        bus.silence(lines, seconds / 8)
        return f"{self._instance(where).name} {which % 4} for {seconds / 8} s"

    def cut_both(self, where, _, seconds):
        self.cut_store(where, 0, seconds)
        return self.cut_bus(where, 0, seconds)

    def stall(self, where, _, seconds):
        self._fault("stall")
        instance = self._instance(where)
        if not instance.stalled:
            instance.stall(seconds / 60 * 25)
        return f"{instance.name} for {seconds / 60 * 25:.1f} s"

    def stall_all(self, _, __, seconds):
        self._fault("stall")
        for instance in self.world.living:
            if not instance.stalled:
                instance.stall(seconds / 60 * 25)

    def die(self, where, _, __):
        if len(self.world.staying) < 2:
            return ""
        self._fault("death")
        instance = self.world.staying[where % len(self.world.staying)]
        instance.die()
        return instance.name

    def drain(self, where, _, __):
        if len(self.world.staying) < 2:
            return ""
        self._fault("drain")
        instance = self.world.staying[where % len(self.world.staying)]
        instance.drain()
        return instance.name

    def start(self, _, __, ___):
        if len(self.world.living) < 3:
            return self.world.add_instance().name
        return ""

    def restart(self, _, __, seconds):
        self.world.restart_store(seconds / 4)
        return f"after {seconds / 4} s"

    def restart_empty(self, _, __, seconds):
        self.world.forget_everything()
        self.world.restart_store(seconds / 4)
        return f"after {seconds / 4} s"

    def save(self, _, __, ___):
        self._saved = self.world.remembered()

    def restart_as_saved(self, _, __, seconds):
        if self._saved is None:
            return ""
        self.world.go_back(self._saved)
        self.world.restart_store(seconds / 4)
        return f"after {seconds / 4} s"

    def hang(self, _, __, seconds):
        self.world.hang_store(seconds / 4)
        return f"for {seconds / 4} s"

    def forget(self, _, __, ___):
        self.world.forget_everything()

    # What is to be said of it.

    def _look_at_seats(self):
        for room_id in self.world.room_ids:
            taken = len(self.world.seats(room_id))
            if taken > ROOMS["max_participants"]:
                self.complaints.append(f"capacity: {taken} seats are taken")

    def _find_calm(self):
        for _ in range(600):
            if not self.world.in_trouble:
                break
            self.world.pass_time(0.5)
        else:
            self.complaints.append("calm: the links do not come back")
        self.world.pass_time(CALM)
        self._tell("calm")

    def _present(self, room_id):
        """The members of a room, as its instances know them: id, holding, label."""
        return [
            (member.id, member.hold, member.label)
            for instance in self.world.living
            for room in instance.relay.rooms
            if room.id == room_id
            for member in room.members.values()
        ]

    def _judge_the_calm(self):
        world, say = self.world, self.complaints.append
        for room_id in world.room_ids:
            present = self._present(room_id)
            here = {id: hold for id, hold, _ in present}
            if len(here) < len(present):
                say("ghost: a seat is held on two instances")
            # Where nobody is, nobody looks, and what the dead have left waits for the room's end.
            if here and here != world.seats(room_id):
                say(f"seats: {len(here)} are there, the store has {len(world.seats(room_id))}")
            members = {p.member_id for p in world.people if p.is_member and p.room_id == room_id}
            if members != here.keys():
                say(f"seats: {len(members)} take themselves for members, {len(here)} are")
        self.complaints += verdicts.counts_told(
            world.transcripts, lambda room_id: len(self._present(room_id))
        )
        self._judge_rosters()
        if world.in_trouble:
            say("calm: links are lost where nothing is wrong")

    def _judge_rosters(self):
        steady = {p.label for p in self.world.people if p.member_id not in self._wanted_back}
        told = [t for t in self.world.transcripts if not any(s.gaps for s in verdicts.stays_in(t))]
        self.complaints += verdicts.roster_told(
            told,
            lambda room_id: {label for _, _, label in self._present(room_id)},
            steady,
        )

    def _qr_tokens(self):
        """For each room, what its members saw last."""
        tokens = {}
        for person in self.world.people:
            if person.is_member:
                tokens.setdefault(person.room_id, set()).add(person.qr_token)
        return tokens

    def _judge_qr_tokens(self, shown):
        """There is one at a time, though each hears of it in its own moment."""
        for room_id, tokens in self._qr_tokens().items():
            if len(tokens) > 1 and len(shown.get(room_id, ())) > 1:
                self.complaints.append(f"qr: {len(tokens)} tokens are shown at once")

    def _lonely(self):
        """The instances all of whose rooms are theirs alone, and what each has published."""
        where = collections.Counter(
            room.id for instance in self.world.living for room in instance.relay.rooms
        )
        return {
            instance: instance.bus.published
            for instance in self.world.living
            if all(where[room.id] == 1 for room in instance.relay.rooms)
        }

    def _everybody_tells(self):
        """What the room is good for: all are heard by all, and nobody is told of a gap; nothing
        is published for a room on one instance."""
        told, lonely = {}, self._lonely()
        before = {p: len(p.transcript.heard) for p in self.world.people}
        for person in self.world.people:
            if person.is_member:
                person.tell()
                told[person] = person.transcript.sent[-1].id
        self.world.pass_time(0.0)
        if any(instance.bus.published > count for instance, count in lonely.items()):
            self.complaints.append("alone: a message was published for a room on one instance")
        self.world.pass_time(3.0)
        self._tell("all have told")
        for person in told:
            since = person.transcript.heard[before[person] :]
            heard = {frame["id"] for _, frame in since}
            missed = [
                id for p, id in told.items() if p.room_id == person.room_id and id not in heard
            ]
            if missed:
                self.complaints.append(f"calm: {person.name} did not hear {missed}")
            if any(frame["t"] == "GAP" for _, frame in since):
                self.complaints.append(f"calm: {person.name} was told GAP")

    def _judge_it_all(self):
        world, transcripts = self.world, self.world.transcripts
        self.complaints += verdicts.at_most_once(transcripts)
        self.complaints += verdicts.one_order(transcripts)
        self.complaints += verdicts.own_order_kept(transcripts)
        self.complaints += verdicts.no_silent_hole(transcripts, world.healthy, SOON, world.now)
        self.complaints += verdicts.answers_in_order(transcripts, complete=True)
        self.complaints += world.reuses + world.denials
        if not world.faults:
            # Whoever loses the seat may still be speaking; what it says may be void, and then the
            # others cannot know that there was nothing to hear.
            if not self._wanted_back:
                self.complaints += verdicts.no_trouble_told(transcripts, HARMLESS)
            self.complaints += verdicts.no_silent_hole(transcripts, world.healthy, 2.0, world.now)

    def _everybody_goes(self):
        world, say = self.world, self.complaints.append
        for n, person in enumerate(world.people):
            if n % 2 and person.is_member:
                person.leave()
            else:
                person.vanish()
        world.pass_time(3.0)
        for person in world.people:
            person.vanish()
        world.pass_time(ROOMS["key_ttl_ms"] / 1000 if world.faults else 20.0)
        if len(world.memory):
            say("left over: rooms in the store")
        if len(world.broker):
            say("left over: subscriptions")
        for instance in world.living:
            relay = instance.relay
            left = {
                "clients": len(relay.clients),
                "rooms": len(relay.rooms),
                "departures": len(relay._departures),
                "places": len(relay._spans),
                "subscriptions": len(instance.bus.subscribed),
                "timers": instance.timers_left,
            }
            if any(left.values()):
                say(f"left over: on {instance.name} {left}")

    def _look_for_bugs(self):
        for instance in self.world.instances:
            if any(instance.metrics.unhandled_errors.values()):
                self.complaints.append(f"error: one of ours on {instance.name}")
        for person in self.world.people:
            if person.transcript.why == "internal error":
                self.complaints.append(f"error: {person.name} was closed for it")


def verdict(seed, steps):
    """The complaints of a play; an exception is one, too."""
    play = Play(seed, steps)
    try:
        play.run()
    except Exception as error:
        play.complaints.append(f"exception: {type(error).__name__}: {error}")
    return play


def shrunk(seed, steps, promise, most=600):
    """As few steps as still break the same promise."""

    def breaks(fewer):
        return any(c.split(":")[0] == promise for c in verdict(seed, fewer).complaints)

    size = len(steps) // 2
    while size and most > 0:
        start, found = 0, False
        while start < len(steps) and most > 0:
            fewer = steps[:start] + steps[start + size :]
            most -= 1
            if breaks(fewer):
                steps, found = fewer, True
            else:
                start += size
        if size > 1 or not found:
            size //= 2
    return steps
