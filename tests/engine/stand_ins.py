"""Stand-ins for what a test must hold in its hand: time, randomness, the network, a late store."""

import collections
import itertools
import json

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from zope.interface import implementer

from twisted_relay.core.settings import RoomLimits, SessionLimits
from twisted_relay.core.tokens import Claims, TokenSigner
from twisted_relay.engine.assembly import make_relay
from twisted_relay.engine.interfaces import IConnection, IRoomStore, StoreUnavailable
from twisted_relay.engine.memory_store import MemoryStore
from twisted_relay.engine.metrics import Metrics
from twisted_relay.engine.relay import Environment

SECRET = b"k" * 32
EPOCH_MS = 1_700_000_000_000


def session_limits(**over):
    return SessionLimits(
        **(
            {
                "max_ws_msg_bytes": 100_000,
                "max_app_ciphertext_bytes": 4096,
                "max_msgs_per_10s": 1000,
                "max_bytes_per_10s": 1_000_000,
                "slow_consumer_buffer_threshold": 100_000,
                "ping_interval_ms": 30_000,
                "ping_timeout_ms": 10_000,
                "join_timeout_ms": 60_000,
            }
            | over
        )
    )


def room_limits(**over):
    return RoomLimits(
        **(
            {
                "max_participants": 10,
                "key_ttl_ms": 3_600_000,
                "empty_grace_ms": 30_000,
                "qr_rotation_ms": 60_000,
                "max_creates_per_ip_per_min": 1000,
            }
            | over
        )
    )


def counted_bytes():
    """Randomness that repeats from run to run and never repeats within one."""
    counter = itertools.count(1)
    return lambda size: next(counter).to_bytes(size, "big")


def result_of(awaitable):
    """What a coroutine that waits for nothing came to."""
    results = []
    Deferred.fromCoroutine(awaitable).addBoth(results.append)
    assert results, "it waits for something"
    if hasattr(results[0], "raiseException"):
        results[0].raiseException()
    return results[0]


def frames_in(data):
    """The JSON of each WebSocket frame in what was written."""
    frames = []
    while data:
        size, start = data[1], 2
        if size == 126:
            size, start = int.from_bytes(data[2:4], "big"), 4
        elif size == 127:
            size, start = int.from_bytes(data[2:10], "big"), 10
        frames.append(json.loads(data[start : start + size]))
        data = data[start + size :]
    return frames


@implementer(IConnection)
class Connection:
    """Takes down what is written, and how the relay ends it."""

    def __init__(self, address_key="192.0.2.1"):
        self.address_key = self.client_address = address_key
        self.frames = []
        self.writes = 0
        self.closed = None
        self.paused = False
        self.pings = []
        self.unsent = 0
        self.clock = None

    def write(self, data):
        if self.closed is None:
            self.writes += 1
            self.frames += frames_in(data)

    def ping(self):
        self.pings.append(self.clock.seconds())

    def unsent_bytes(self):
        return self.unsent

    def pause(self):
        self.paused = True

    def resume(self):
        self.paused = False

    def close(self, why):
        assert self.closed is None, "closed twice"
        self.closed = why


@implementer(IRoomStore)
class LateStore:
    """A store whose answers are let go by hand, in the order in which they were asked for.

    Attributes:
        late: False passes calls straight through.
        absent: True makes every call raise `StoreUnavailable`, and reach nothing.
        decides_late: True lets the store behind decide only when the answer is let go, else at
            the call.
        calls: the name of each call, in order.
        waiting: the answers that are awaited.
    """

    def __init__(self, store, late=True):
        self.behind = store
        self.late = late
        self.absent = False
        self.decides_late = False
        self.calls = []
        self.waiting = collections.deque()

    def answer(self, count=None):
        """Let go the next `count` answers, or all, and those that they lead to."""
        while self.waiting and count != 0:
            count = None if count is None else count - 1
            self.waiting.popleft().callback(None)

    def fail(self, error):
        """Let the next call fail; what it asked for has or has not happened by then."""
        self.waiting.popleft().errback(error)

    async def _pass(self, name, *args):
        self.calls.append(name)
        if self.absent:
            raise StoreUnavailable
        call = getattr(self.behind, name)
        if not self.late:
            return await call(*args)
        turn = Deferred()
        self.waiting.append(turn)
        if self.decides_late:
            await turn
            return await call(*args)
        decided = Deferred.fromCoroutine(call(*args))
        try:
            await turn
        except StoreUnavailable:
            decided.addErrback(lambda _: None)
            raise
        return await decided

    async def create(self, room_id, address_key, entry, qr):
        return await self._pass("create", room_id, address_key, entry, qr)

    async def join(self, room_id, entry):
        return await self._pass("join", room_id, entry)

    async def leave(self, room_id, member_id, hold, for_good, token_id=None):
        return await self._pass("leave", room_id, member_id, hold, for_good, token_id)

    async def renew(self, room_id, lease):
        return await self._pass("renew", room_id, lease)

    async def register(self, room_id, registration):
        return await self._pass("register", room_id, registration)

    @property
    def settles_after(self):
        return self.behind.settles_after

    async def exists(self, room_id):
        return await self._pass("exists", room_id)

    async def rotate_qr(self, room_id, fresh, stale_id):
        return await self._pass("rotate_qr", room_id, fresh, stale_id)

    def status(self):
        return self.behind.status()

    def start(self):
        self.behind.start()

    async def stop(self):
        await self.behind.stop()


class Person:
    """Somebody at the far end of a `Connection`, who remembers what was heard."""

    def __init__(self, bench, address_key):
        self.bench = bench
        self.connection = Connection(address_key)
        self.connection.clock = bench.clock
        self.client = bench.relay.opened(self.connection)
        self._sent = 0

    def say(self, kind, id=None, **body):
        """Send a frame; returns its id."""
        self._sent += 1
        id = id or f"frame-{self._sent:04}"
        self.say_raw(json.dumps({"v": 1, "t": kind, "id": id, "body": body}).encode())
        return id

    def say_raw(self, payload):
        self.client.heard_at = self.bench.clock.seconds()
        self.bench.relay.received(self.client, payload)

    def create(self, **body):
        self.say("ROOM_CREATE", **body)
        return self.last("ROOM_CREATED")

    def join(self, room_id, token, **body):
        self.say("JOIN_REQUEST", roomId=room_id, token=token, **body)
        return self.last("JOINED")

    def tell(self, room_id, text="QUJD", **kwargs):
        return self.say("APP_MSG", roomId=room_id, ciphertextB64=text, **kwargs)

    def vanish(self):
        self.bench.relay.lost(self.client, "lost")

    @property
    def closed(self):
        return self.connection.closed

    def heard(self, kind=None):
        """The frames heard, the bodies of one kind, after letting the turn end."""
        self.bench.turn()
        frames = self.connection.frames
        return frames if kind is None else [f["body"] for f in frames if f["t"] == kind]

    def kinds(self):
        return [frame["t"] for frame in self.heard()]

    def last(self, kind):
        bodies = self.heard(kind)
        return bodies[-1] if bodies else None

    def forget(self):
        self.bench.turn()
        self.connection.frames.clear()


class Bench:
    """A real relay over a real embedded store, with time in the test's hand."""

    def __init__(
        self, *, late=False, session=(), rooms=(), next_token_ttl_ms=86_400_000, cut_slow=True
    ):
        self.clock = Clock()
        self.metrics = Metrics(0.0)
        self.memory = MemoryStore(self.clock, self.now_ms, room_limits(**dict(rooms)))
        self.store = LateStore(self.memory, late)
        random_bytes = counted_bytes()
        self.signer = TokenSigner(SECRET, (), random_bytes)
        self.relay = make_relay(
            Environment(self.clock, self.now_ms, random_bytes, self.metrics, "test/1"),
            session_limits(**dict(session)),
            room_limits(**dict(rooms)),
            self.signer,
            next_token_ttl_ms,
            self.store,
            cut_slow,
        )
        self.store.start()
        self.relay.start()

    def now_ms(self):
        return EPOCH_MS + int(self.clock.seconds() * 1000)

    def turn(self):
        self.clock.advance(0)

    def pass_time(self, seconds, step=1.0):
        """Let time pass in steps, as it does for a reactor."""
        ends = self.clock.seconds() + seconds
        while self.clock.seconds() < ends:
            self.clock.advance(min(step, ends - self.clock.seconds()))

    def person(self, address_key="192.0.2.1"):
        return Person(self, address_key)

    def room(self, **body):
        """Somebody in a new room of their own; the person and the answer."""
        person = self.person()
        created = person.create(**body)
        return person, created

    def guest(self, room_id, **body):
        """Somebody who has joined with a token of their own; the person and the answer."""
        person = self.person()
        return person, person.join(room_id, self.token(room_id), **body)

    def token(self, room_id, ttl_ms=60_000):
        return self.signer.sign(Claims(room_id, self.now_ms() + ttl_ms, self.signer.random_id()))

    def seats(self, room_id):
        """How many seats of a room the store counts; None without a room."""
        room = self.memory._live(room_id)
        return None if room is None else len(room.seats)
