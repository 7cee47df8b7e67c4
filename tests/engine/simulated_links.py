"""What joins simulated instances: lines with delays, one shared store and one shared broker.

Everything runs on the events of a `World` (`simulated`). A line keeps the order of what is sent
over it, as TCP does; it may fall silent, so that nobody notices for a while; and when it is cut, a
first part of what is under way may still arrive, late, even after what a new line brings.
"""

import collections

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from zope.interface import implementer

from twisted_relay.engine.interfaces import (
    LEASE_SECONDS,
    IBus,
    IRoomStore,
    StoreStatus,
    StoreUnavailable,
)

#: Seconds after which a command or a subscription without an answer ends its link.
TIME_LIMIT = 2.0
#: Seconds after the end of a link in which what was sent over it may still be executed.
SETTLES_AFTER = 1.5
#: Seconds between two answers of a link that count as a gap.
LONGEST_GAP = 2.5


class Line:
    """One direction of a connection: what is sent arrives in order, each thing a moment later."""

    def __init__(self, world, delay):
        self._world = world
        self._delay = delay
        self._flying = collections.deque()
        self._silent = False

    def send(self, arrive):
        due = self._world.now + self._delay()
        if self._flying:
            due = max(due, self._flying[-1][0])
        self._flying.append((due, arrive))
        self._world.at(due, self._pump)

    def _pump(self):
        while self._flying and not self._silent and self._flying[0][0] <= self._world.now:
            self._flying.popleft()[1]()

    def fall_silent(self):
        self._silent = True

    def speak_again(self):
        """Nothing was lost, it was only slow to come."""
        self._silent = False
        self._world.at(self._world.now, self._pump)

    def cut(self, late):
        """The end: a first part of what is under way arrives within `late` seconds, no more.

        What has reached a store that stands still is not read before that moves on.
        """
        random, flying = self._world.random, [arrive for _, arrive in self._flying]
        self._flying.clear()
        kept = random.choice((0, len(flying), random.randint(0, len(flying))))
        at = max(self._world.now, self._world.store_away_until)
        ends = at + late
        for arrive in flying[:kept]:
            at += random.uniform(0, (ends - at) / 2)
            self._world.at(at, arrive)


class _Link:
    """What store link and bus links have in common: they are there, or lost, or kept away.

    Attributes:
        up: whether it is there, as far as this end knows.
        kept_away: how many faults keep it from coming back.
    """

    def __init__(self, instance):
        self.instance = instance
        self.world = instance.world
        self.up = False
        self.kept_away = 0
        self._stopped = False

    def keep_away(self, seconds):
        """Cut, and not there again for so long."""
        self.kept_away += 1
        self.world.trouble(+1)

        def over():
            self.kept_away -= 1
            self.world.trouble(-1)
            self._come_back()

        self.world.at(self.world.now + seconds, over)
        self.instance.deliver(self, self.lose)

    def silence(self, lines, seconds):
        """The lines fall silent. Whether this is noticed before it is over, the clock says."""
        self.world.trouble(+1)
        for line in lines:
            line.fall_silent()

        def over():
            self.world.trouble(-1)
            for line in lines:
                line.speak_again()

        self.world.at(self.world.now + seconds, over)

    def lose(self):
        """This end has noticed, or has given up."""
        if self.up:
            self.up = False
            self.world.trouble(+1)
            self.on_lost()
            self._come_back()

    def _come_back(self):
        delay = self.world.random.uniform(0.05, 1.5)
        self.world.at(self.world.now + delay, lambda: self.instance.deliver(self, self._try))

    def _try(self):
        if self.world.now < self.world.store_away_until:
            self._come_back()
        elif not (self.up or self._stopped or self.kept_away):
            self.world.trouble(-1)
            self.connect()

    def end(self):
        """The process at this end is no more."""
        self._stopped = True
        if self.up:
            self.up = False
            self.cut()
        else:
            self.world.trouble(-1)


class _Asked:
    def __init__(self, name, args, reaps):
        self.name = name
        self.args = args
        self.reaps = reaps
        self.answer = Deferred()
        self.void_from = float("inf")


@implementer(IRoomStore)
class SimStore(_Link):
    """One instance's link to the store that all share.

    A command without an answer in time ends the link, as `RedisLink` does; and lapsed leases are
    only dropped for an instance whose link has answered without a gap for one lease's time.
    """

    settles_after = SETTLES_AFTER

    def __init__(self, instance):
        super().__init__(instance)
        self._asked = []
        self._answered_at = self._unbroken_since = -1e9
        self._beat = LoopingCall(self._ping)
        self._beat.clock = instance.clock
        self.calls = 0
        self._plug_in()

    def _plug_in(self):
        self.up = True
        self._there = Line(self.world, self.instance.delays.command)
        self._back = Line(self.world, self.instance.delays.reply)
        self.lines = (self._there, self._back)

    # What the relay asks.

    def start(self):
        self._answered_at = self._unbroken_since = self.world.now
        self._beat.start(1.0, now=False)

    async def stop(self):
        if self._beat.running:
            self._beat.stop()

    def status(self):
        return StoreStatus("redis", self.up, None, "")

    async def create(self, room_id, address_key, entry, qr):
        return await self._ask("create", room_id, address_key, entry, qr)

    async def join(self, room_id, entry):
        return await self._ask("join", room_id, entry)

    async def leave(self, room_id, member_id, hold, for_good, token_id=None):
        return await self._ask("leave", room_id, member_id, hold, for_good, token_id)

    async def renew(self, room_id, lease):
        return await self._ask("renew", room_id, lease)

    async def register(self, room_id, registration):
        return await self._ask("register", room_id, registration)

    async def exists(self, room_id):
        return await self._ask("exists", room_id)

    async def rotate_qr(self, room_id, fresh, stale_id):
        return await self._ask("rotate_qr", room_id, fresh, stale_id)

    # The link.

    @property
    def reaps(self):
        now = self.world.now
        return (
            self.up
            and now - self._answered_at <= LONGEST_GAP
            and now - self._unbroken_since >= LEASE_SECONDS
        )

    @property
    def limits_running(self):
        return len(self._asked)

    def _ask(self, name, *args):
        asked = _Asked(name, args, self.reaps)
        if not self.up:
            asked.answer.errback(StoreUnavailable())
            return asked.answer
        self.calls += name != "ping"
        self._asked.append(asked)
        limit = self.instance.clock.callLater(TIME_LIMIT, self.lose)
        asked.answer.addBoth(self._in_time, limit)
        back = self._back

        def arrived():
            if self.world.now < asked.void_from:
                outcome = self.world.execute(asked.name, asked.args, asked.reaps)
                back.send(
                    lambda: self.instance.deliver(self, lambda: self._replied(asked, outcome))
                )

        self._there.send(arrived)
        return asked.answer

    @staticmethod
    def _in_time(outcome, limit):
        if limit.active():
            limit.cancel()
        return outcome

    def _replied(self, asked, outcome):
        if asked in self._asked:
            self._asked.remove(asked)
            now = self.world.now
            if now - self._answered_at > LONGEST_GAP:
                self._unbroken_since = now
            self._answered_at = now
            asked.answer.callback(outcome)

    def _ping(self):
        if self.up and not any(asked.name == "ping" for asked in self._asked):
            self._ask("ping").addErrback(lambda failure: failure.trap(StoreUnavailable))

    def connect(self):
        self._plug_in()
        self._answered_at = self._unbroken_since = self.world.now

    def on_lost(self):
        self.cut()
        self.give_up()

    def give_up(self):
        given_up, self._asked = self._asked, []
        for asked in given_up:
            asked.void_from = self.world.now + SETTLES_AFTER
        for asked in given_up:
            asked.answer.errback(StoreUnavailable())

    def cut(self):
        self._there.cut(SETTLES_AFTER)
        self._back.cut(0.0)


class Broker:
    """Redis' side of the bus: one order of all that is published, for all who are subscribed."""

    def __init__(self):
        self._subscribers = {}

    def __len__(self):
        return sum(map(len, self._subscribers.values()))

    def rooms_of(self, subscriber):
        return [id for id, who in self._subscribers.items() if subscriber in who]

    def subscribe(self, room_id, subscriber):
        self._subscribers.setdefault(room_id, {})[subscriber] = None

    def unsubscribe(self, room_id, subscriber):
        who = self._subscribers.get(room_id, {})
        who.pop(subscriber, None)
        if not who:
            self._subscribers.pop(room_id, None)

    def drop(self, subscriber):
        for room_id in self.rooms_of(subscriber):
            self.unsubscribe(room_id, subscriber)

    def publish(self, room_id, data):
        for subscriber in tuple(self._subscribers.get(room_id, ())):
            subscriber.deliver(room_id, data)


class _Subscriber:
    """One subscriber connection; after its loss there is another."""

    def __init__(self, bus):
        self._bus = bus
        self.gone = False
        self.there = Line(bus.world, bus.instance.delays.subscribe)
        self.back = Line(bus.world, bus.instance.delays.deliver)

    def deliver(self, room_id, data):
        self.tell(lambda: self._bus.arrived(self, room_id, data))

    def tell(self, event):
        self.back.send(lambda: self._bus.instance.deliver(self._bus, event))


@implementer(IBus)
class SimBus(_Link):
    """One instance's links to the broker: one that publishes, one that subscribes.

    Either's loss is both's. `published` counts what left here.
    """

    def __init__(self, instance):
        super().__init__(instance)
        self._owner = None
        self._wanted = set()
        self._awaited = collections.defaultdict(collections.deque)
        self.published = 0
        self._plug_in()

    def _plug_in(self):
        self._publisher = Line(self.world, self.instance.delays.publish)
        self._subscriber = _Subscriber(self)

    @property
    def lines(self):
        return (self._publisher, self._subscriber.there, self._subscriber.back)

    @property
    def subscribed(self):
        return set(self._wanted) | {id for id, waits in self._awaited.items() if waits}

    # What the relay asks.

    def attach(self, owner):
        self._owner = owner

    def start(self):
        self.up = True

    async def stop(self):
        self.end()

    async def subscribe(self, room_id):
        if not self.up:
            raise StoreUnavailable
        self._wanted.add(room_id)
        answer = Deferred()
        self._awaited[room_id].append(answer)
        limit = self.instance.clock.callLater(TIME_LIMIT, self.lose)
        subscriber, broker = self._subscriber, self.world.broker

        def arrived():
            if not subscriber.gone:
                broker.subscribe(room_id, subscriber)
                subscriber.tell(lambda: self._confirmed(subscriber, room_id))

        subscriber.there.send(arrived)
        try:
            await answer
        finally:
            if limit.active():
                limit.cancel()

    def unsubscribe(self, room_id):
        self._wanted.discard(room_id)
        if self.up:
            subscriber, broker = self._subscriber, self.world.broker
            subscriber.there.send(lambda: broker.unsubscribe(room_id, subscriber))

    def publish(self, room_id, data):
        if not self.up:
            return False
        self.published += 1
        self._publisher.send(lambda: self.world.broker.publish(room_id, data))
        return True

    # The links.

    def _confirmed(self, subscriber, room_id):
        if not subscriber.gone and self._awaited[room_id]:
            self._awaited[room_id].popleft().callback(None)

    def arrived(self, subscriber, room_id, data):
        if not subscriber.gone and room_id in self._wanted:
            self._owner.heard(room_id, data)

    def silence(self, lines, seconds):
        """Silence that lasts is noticed: nothing answers the beat."""
        super().silence(lines, seconds)
        publisher, noticed = self._publisher, self.world.random.uniform(0.5, TIME_LIMIT + 1)

        def look():
            if publisher is self._publisher:
                self.lose()

        if noticed < seconds:
            self.instance.clock.callLater(noticed, look)

    def connect(self):
        self._plug_in()
        self.up = True
        self._owner.bus_restored()

    def on_lost(self):
        self.cut()
        self._wanted.clear()
        events = [self._owner.bus_lost, self.give_up]
        self.world.random.shuffle(events)
        for event in events:
            event()

    def give_up(self):
        waits = [answer for queue in self._awaited.values() for answer in queue]
        self._awaited.clear()
        for answer in waits:
            answer.errback(StoreUnavailable())

    def cut(self):
        self._subscriber.gone = True
        self.world.broker.drop(self._subscriber)
        self._publisher.cut(SETTLES_AFTER)
        self._subscriber.there.cut(0.0)
        self._subscriber.back.cut(0.0)
