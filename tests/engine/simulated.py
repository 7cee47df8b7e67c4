"""A simulated world: several relay cores, one store, one bus, people, and all that goes wrong.

Time is simulated, and every choice comes from one seeded source: a run can be repeated exactly.
The relays are real, and so is the store behind the simulated links.
"""

import copy
import heapq
import itertools
import json
import random

import attrs
from simulated_links import Broker, SimBus, SimStore
from stand_ins import (
    EPOCH_MS,
    SECRET,
    Connection,
    counted_bytes,
    result_of,
    room_limits,
    session_limits,
)
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from verdicts import Sent, Transcript

from twisted_relay.core.errors import RelayError
from twisted_relay.core.tokens import Claims, TokenSigner
from twisted_relay.engine.assembly import make_relay
from twisted_relay.engine.memory_store import MemoryStore
from twisted_relay.engine.metrics import Metrics
from twisted_relay.engine.relay import Environment

BUS_KEYS = (b"k" * 32,)


class WorldClock(Clock):
    """Shows the world's time, and fires what is due when it is told to."""

    def __init__(self, world):
        super().__init__()
        self._world = world

    def seconds(self):
        return self._world.now

    def turn(self):
        self.advance(0)

    @property
    def due(self):
        return self.calls[0].getTime() if self.calls else float("inf")


@attrs.define
class Delays:
    """How long things take on an instance's links, in seconds; `slow` may be set at any time."""

    random: random.Random
    usual: float
    slow: dict = attrs.Factory(dict)

    def _one(self, line):
        slowest = self.slow.get(line, 0.0)
        return self.random.expovariate(1 / self.usual) + self.random.uniform(0, slowest)

    def command(self):
        return self._one("command")

    def reply(self):
        return self._one("reply")

    def publish(self):
        return self._one("publish")

    def subscribe(self):
        return self._one("subscribe")

    def deliver(self):
        return self._one("deliver")


class Instance:
    """One process: a relay with its clock, its links, and a life of its own."""

    def __init__(self, world, name):
        self.world = world
        self.name = name
        self.alive = True
        self.stalled = self.is_going = self._stopped = False
        self._queued = []
        self.clock = WorldClock(world)
        self.delays = Delays(world.random, world.usual_delay)
        self.metrics = Metrics(0.0)
        self.store = SimStore(self)
        self.bus = SimBus(self)
        self.relay = make_relay(
            Environment(self.clock, world.now_ms, world.random_bytes, self.metrics, "test/1"),
            session_limits(**world.session),
            room_limits(**world.rooms),
            world.signer,
            86_400_000,
            self.store,
            True,
            bus=self.bus,
            bus_keys=BUS_KEYS,
        )
        self.store.start()
        self.relay.start()
        self.bus.start()
        self.clock.turn()
        self._fixed_timers = len(self.clock.getDelayedCalls())

    @property
    def timers_left(self):
        """How many more timers run than when the process had just begun."""
        own = self._fixed_timers + self.store.limits_running
        return len(self.clock.getDelayedCalls()) - own

    def deliver(self, source, event):
        """Something has come from outside: at once, or when the process moves on."""
        if self.stalled:
            self._queued.append((source, event))
        elif self.alive:
            event()

    def stall(self, seconds):
        """The process stands still; then what is due is done first, and all that came comes."""
        self.stalled = True
        self.world.trouble(+1)
        self.world.at(self.world.now + seconds, self._move_on)

    def _move_on(self):
        self.world.trouble(-1)
        self.stalled = False
        if not self.alive:
            return
        self.clock.turn()
        queued, self._queued = self._queued, []
        sources = list(dict.fromkeys(source for source, _ in queued))
        self.world.random.shuffle(sources)
        for source in sources:
            for whose, event in queued:
                if whose is source:
                    self.deliver(source, event)
                    if self.world.random.random() < 0.2:
                        self.clock.turn()

    def die(self):
        """The process ends as by kill -9."""
        self.alive = False
        self.store.end()
        self.bus.end()
        for person in self.world.people:
            if person.instance is self:
                person.is_over("killed")

    def bury(self):
        """Let go of what a dead process still waited for."""
        if not self._stopped:
            self._stopped = True
            self.relay.stop()
        self.store.give_up()
        self.bus.give_up()

    def drain(self):
        """The process ends as by SIGTERM; its end is scheduled."""
        self.is_going = True
        self.world.trouble(+1)

        def over():
            self.world.trouble(-1)
            if self.alive:
                self.die()
                self.bury()

        self.deliver(self, lambda: Deferred.fromCoroutine(self.relay.drain(5.0)))
        self.world.at(self.world.now + 5.5, over)


class SimConnection(Connection):
    """Takes down what is heard, and when; pings are answered while the process moves."""

    def __init__(self, person):
        super().__init__()
        self.person = person

    def write(self, data):
        if not self.person.over:
            before = len(self.frames)
            super().write(data)
            now = self.person.world.now
            for frame in self.frames[before:]:
                self.person.heard(now, frame)

    def ping(self):
        person = self.person

        def pong():
            person.client.heard_at = person.world.now

        if not person.over:
            person.world.at(person.world.now + 0.05, lambda: person.instance.deliver(self, pong))

    def close(self, why):
        super().close(why)
        self.person.closed_by_relay(why.reason)

    def resume(self):
        was_paused = self.paused
        super().resume()
        if was_paused:
            self.person.world.at(self.person.world.now, self.person.let_through)


class Person:
    """Somebody at the far end of a connection to one instance.

    Attributes:
        room_id: the room of which this one is a member, as far as it has heard.
        over: whether the connection has ended.
    """

    def __init__(self, world, instance, name):
        self.world = world
        self.instance = instance
        self.name = name
        self.transcript = Transcript(f"{name}@{instance.name}")
        self.room_id = self.member_id = self.label = None
        self.joined_with = {}
        self.next_tokens = []
        self.qr_token = None
        self.over = False
        self.client = None
        self.connection = SimConnection(self)
        self._held_back = []
        instance.deliver(self, self._open)

    def _open(self):
        if not self.over:
            self.client = self.instance.relay.opened(self.connection)

    # What it says.

    def say(self, kind, **body):
        id = f"{self.name}-{len(self.transcript.sent):04}-{kind.lower()}"
        self.transcript.sent.append(Sent(self.world.now, kind, id, body.get("roomId")))
        payload = json.dumps({"v": 1, "t": kind, "id": id, "body": body}).encode()
        self.instance.deliver(self, lambda: self._came(payload))
        return id

    def _came(self, payload):
        if self.client is None or self.over:
            return
        if self._held_back or (self.connection.paused and self.world.random.random() < 0.5):
            self._held_back.append(payload)
        else:
            self._heard(payload)

    def let_through(self):
        self.instance.deliver(self, self._let_through)

    def _let_through(self):
        while self._held_back and not self.connection.paused and not self.over:
            self._heard(self._held_back.pop(0))

    def _heard(self, payload):
        self.client.heard_at = self.world.now
        self.instance.relay.received(self.client, payload)

    def create(self, label):
        self.label = label
        self.say("ROOM_CREATE", label=label)

    def join(self, room_id, token, label=None):
        body = {} if label is None else {"label": label}
        self.joined_with[self.say("JOIN_REQUEST", roomId=room_id, token=token, **body)] = token

    def tell(self, room_id=None):
        self.say("APP_MSG", roomId=room_id or self.room_id, ciphertextB64="QUJD")

    def show(self):
        self.say(
            "MEDIA_MSG", roomId=self.room_id, mime="m", size=1, chunkSize=1024, chunks=["QUJD"]
        )

    def leave(self):
        self.say("LEAVE", roomId=self.room_id)

    def vanish(self):
        """The connection ends from this side."""
        if self.over:
            return
        self.is_over("vanished")
        self.instance.deliver(self, self._lost)

    # What it hears.

    def heard(self, now, frame):
        if self.member_id not in self.world.seats(self.room_id):
            self.transcript.outside.add(len(self.transcript.heard))
        self.transcript.heard.append((now, frame))
        kind, body = frame["t"], frame["body"]
        if kind in ("JOINED", "ROOM_CREATED"):
            self.room_id, self.member_id = body["roomId"], body["memberId"]
            self.label = body["label"]
            self.world.entered(self, kind, frame)
        elif kind == "LEFT":
            self.room_id = None
        elif kind == "ERROR" and body["code"] == "ERR_NO_ROOM":
            self.world.denied(self, frame["re"])
        if "nextToken" in body:
            self.next_tokens.append(body["nextToken"])
        if "qrToken" in body:
            self.qr_token = body["qrToken"]

    def closed_by_relay(self, why):
        self.is_over(why)
        self.world.at(
            self.world.now + self.world.random.uniform(0, 0.2),
            lambda: self.instance.deliver(self, self._lost),
        )

    def is_over(self, why):
        if not self.over:
            self.over = True
            self.transcript.ended = self.world.now
            self.transcript.why = why

    def _lost(self):
        if self.client is not None:
            self.instance.relay.lost(self.client, "lost")

    @property
    def is_member(self):
        return self.room_id is not None and not self.over


class World:
    """Instances, people, time and trouble.

    Attributes:
        now: seconds.
        memory: the store behind all links; another one after it was emptied.
        room_ids: rooms that anybody has heard of.
        faults: the names of what has gone wrong in this run.
        reuses: tokens that served twice though the store had forgotten nothing in between.
        denials: rooms that were said not to be by an instance that had members there.
    """

    def __init__(self, seed, instances=3, session=(), rooms=()):
        self.now = 0.0
        self.random = random.Random(seed)
        self.random_bytes = counted_bytes()
        self.session = dict(session)
        self.rooms = dict(rooms)
        self.usual_delay = self.random.choice((0.0005, 0.005, 0.05))
        self.signer = TokenSigner(SECRET, (), self.random_bytes)
        self.broker = Broker()
        self.store_away_until = 0.0
        self.faults = set()
        self.people, self.instances, self.room_ids = [], [], []
        self.reuses, self.denials = [], []
        self._served = {}
        self._events = []
        self._numbers = itertools.count()
        self._troubles = [(0.0, 0)]
        self._reaping = False
        self._start_store()
        for _ in range(instances):
            self.add_instance()

    def _start_store(self):
        self.store_clock = WorldClock(self)
        self.memory = MemoryStore(
            self.store_clock,
            self.now_ms,
            room_limits(**self.rooms),
            limit_creations=False,
            reaps=lambda: self._reaping,
        )
        self.memory.start()

    def add_instance(self):
        instance = Instance(self, f"I{len(self.instances)}")
        self.instances.append(instance)
        return instance

    def person(self, instance):
        person = Person(self, instance, f"p{len(self.people):02}")
        self.people.append(person)
        return person

    def now_ms(self):
        return EPOCH_MS + int(self.now * 1000)

    def token(self, room_id):
        claims = Claims(room_id, self.now_ms() + 60_000, self.signer.random_id())
        return self.signer.sign(claims)

    @property
    def living(self):
        return [instance for instance in self.instances if instance.alive]

    @property
    def staying(self):
        return [instance for instance in self.living if not instance.is_going]

    @property
    def transcripts(self):
        return [person.transcript for person in self.people]

    # Time.

    def at(self, when, event):
        heapq.heappush(self._events, (when, next(self._numbers), event))

    def pass_time(self, seconds):
        ends = self.now + seconds
        while True:
            clocks = [i.clock for i in self.instances if i.alive and not i.stalled]
            clock = min([*clocks, self.store_clock], key=lambda clock: clock.due)
            event_due = self._events[0][0] if self._events else float("inf")
            due = min(clock.due, event_due)
            if due > ends:
                break
            self.now = max(self.now, due)
            if clock.due < event_due or (clock.due == event_due and self.random.random() < 0.5):
                clock.turn()
            else:
                heapq.heappop(self._events)[2]()
        self.now = ends

    # The store.

    def execute(self, name, args, reaps):
        """What the store makes of a command: a value, or a Failure for RelayError."""
        if name == "ping":
            return None
        self._reaping = reaps
        try:
            return result_of(getattr(self.memory, name)(*args))
        except RelayError as error:
            return Failure(error)
        finally:
            self._reaping = False

    def forget_everything(self):
        self.faults.add("forgotten")
        self._served.clear()
        self._start_store()

    def go_back(self, rooms):
        """The store knows what it knew when these `rooms` were `remembered`, and nothing since."""
        self.faults.add("gone back")
        self._served.clear()
        self.memory._rooms = copy.deepcopy(rooms)

    def remembered(self):
        """What the store knows of rooms at this moment."""
        return copy.deepcopy(self.memory._rooms)

    def seats(self, room_id):
        """The members that the store counts, with the names of their holdings."""
        room = self.memory._rooms.get(room_id)
        return {} if room is None else {id: held.hold for id, held in room.seats.items()}

    def restart_store(self, seconds):
        """The store and the bus are gone for so long."""
        self.faults.add("store away")
        self.store_away_until = max(self.store_away_until, self.now + seconds)
        for instance in self.living:
            instance.store.keep_away(seconds)
            instance.bus.keep_away(seconds)

    def hang_store(self, seconds):
        """The store and the bus take everything and answer nothing for so long."""
        self.faults.add("store hung")
        self.store_away_until = max(self.store_away_until, self.now + seconds)
        for instance in self.living:
            instance.store.silence(instance.store.lines, seconds)
            instance.bus.silence(instance.bus.lines, seconds)

    # What is known of trouble and of tokens.

    def trouble(self, change):
        self._troubles.append((self.now, self._troubles[-1][1] + change))

    @property
    def in_trouble(self):
        return self._troubles[-1][1] > 0

    def healthy(self, since, until):
        """Seconds between two times in which nothing was wrong with any link or process."""
        total = 0.0
        for (start, count), (end, _) in itertools.pairwise([*self._troubles, (self.now, 0)]):
            if not count:
                total += max(0.0, min(end, until) - max(start, since))
        return total

    def denied(self, person, id):
        asked = next(sent for sent in person.transcript.sent if sent.id == id)
        if person.instance.relay.rooms.get(asked.room_id) is not None:
            self.denials.append(f"denied: {person.name} was told that a room with members is not")

    def entered(self, person, kind, frame):
        room_id = frame["body"]["roomId"]
        if room_id not in self.room_ids:
            self.room_ids.append(room_id)
        if kind == "JOINED" and not frame["body"]["resumed"]:
            token = person.joined_with[frame["re"]]
            if token in self._served:
                self.reuses.append(f"token: {person.name} came in by the one of others")
            self._served[token] = person
