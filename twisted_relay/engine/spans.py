"""All rooms of this instance, as the store and the other instances know them.

Keeps leases renewed, hears the bus, and has one way out of every doubt (a lost link, a lapsed
lease, a store that forgot, a process that stood still): ask the store; if all is as it was, go on;
otherwise register the room under a new lease, ask the others to answer, and tell members GAP.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_relay.core.bus import Occupant, Shown, Tell
from twisted_relay.core.errors import Close, Code, RelayError
from twisted_relay.core.rooms import Standing, automatic_number
from twisted_relay.core.settings import RoomLimits
from twisted_relay.core.span import Said
from twisted_relay.engine.client import Seated
from twisted_relay.engine.deadlines import Deadlines
from twisted_relay.engine.interfaces import (
    LEASE_SECONDS,
    Entry,
    IBusOwner,
    IRoomStore,
    QrToken,
    Registered,
    Registration,
    Seat,
    StoreUnavailable,
)
from twisted_relay.engine.place import Arrival, Place, Surroundings

#: Seconds between two renewals of a lease: three fit into its life.
_RENEWAL = LEASE_SECONDS * 0.3
#: A room without leases to renew is renewed this often within its time to live.
_RENEWALS_PER_TTL = 4
_SHORTEST_RENEWAL = 5.0
#: Seconds between two looks at the clock, and how late a look may be before the process is taken
#: to have stood still. A lease that was renewed in time outlives a shorter stall.
_TICK = 1.0
_STALL = LEASE_SECONDS * 0.6
#: Spent tokens remembered for a room before those that have expired are dropped.
_MOST_SPENT = 64


@implementer(IBusOwner)
class Spans:
    """The places of all rooms that have, or are about to have, members here.

    Args:
        around: what all places share.
        limits: times to live.
        store: the rooms of all instances.
        new_lease: makes a random name.
        now_ms: Unix time in milliseconds.
        broken: called with the failure of what nobody waits for, and what it was about.
    """

    _log = Logger()

    def __init__(
        self,
        around: Surroundings,
        limits: RoomLimits,
        store: IRoomStore,
        new_lease: Callable[[], str],
        now_ms: Callable[[], int],
        broken: Callable[[Failure, str], None],
    ) -> None:
        self._around = around
        self._clock = around.clock
        self._bus = around.bus
        self._metrics = around.metrics
        self._store = store
        self._new_lease = new_lease
        self._now_ms = now_ms
        self._broken = broken
        self._places: dict[str, Place] = {}
        self._tick: IDelayedCall | None = None
        self._looked_at = 0.0
        ttl = limits.key_ttl_ms / 1000
        # A room must not die between two renewals, however short its time was set.
        rarely = min(max(_SHORTEST_RENEWAL, ttl / _RENEWALS_PER_TTL), ttl / 2)
        self._renewal_due = Deadlines[Place](
            self._clock, rarely if self._bus is None else min(_RENEWAL, ttl / 2), self._renew
        )
        if self._bus is not None:
            self._bus.attach(self)

    def __len__(self) -> int:
        return len(self._places)

    def start(self) -> None:
        """Begin to look whether the process stands still."""
        if self._bus is not None:
            self._looked_at = self._clock.seconds()
            self._tick = self._clock.callLater(_TICK, self._look)

    def stop(self) -> None:
        """Nothing goes on any more."""
        self._renewal_due.stop()
        if self._tick is not None:
            self._tick.cancel()
        for place in tuple(self._places.values()):
            del self._places[place.room_id]
            place.forget()

    # Coming and going.

    def open(self, room_id: str) -> Place:
        """A room's place, which stays at least until `close`."""
        place = self._places.get(room_id)
        if place is None:
            place = self._places[room_id] = Place(room_id, self._new_lease(), self._around)
        place.users += 1
        return place

    def close(self, place: Place) -> None:
        """Whoever needed the place needs it no more."""
        place.users -= 1
        self.let_go(place)

    def let_go(self, place: Place) -> None:
        """Forget the place if it has nobody any more."""
        if place.users or place.room is not None or place.room_id not in self._places:
            return
        del self._places[place.room_id]
        self._renewal_due.cancel(place)
        place.forget()
        if self._bus is not None and place.subscribed:
            self._bus.unsubscribe(place.room_id)

    def of(self, room_id: str) -> Place | None:
        """The room's place, if it has one."""
        return self._places.get(room_id)

    async def ready(self, place: Place) -> None:
        """Hear the room's channel, before the store makes others speak on it. Raises
        StoreUnavailable."""
        if place.recovering:
            await place.established()
        if self._bus is not None and not place.subscribed:
            await self._subscribe(place)

    async def arrive(self, place: Place, entry: Entry, seat: Seat) -> int:
        """The store has given a seat; wait until its holder may come in. Returns the revision
        with which it came. Raises RelayError or StoreUnavailable."""
        if seat.standing.reaped:
            self._metrics.leases_reaped += 1
        place.number = max(place.number, seat.number)
        if entry.token_id is not None:
            self._remember_spent(place, entry.token_id, entry.token_expires_ms)
        span = place.span
        arrival = Arrival(entry, seat.standing.revision)
        place.arrivals.add(arrival)
        try:
            if entry.lease == span.lease and not place.recovering:
                if not seat.first:
                    span.learned(seat.standing)
                elif place.room is None:
                    span.begin(seat.standing)
                else:
                    # The store had dropped this stay, under which there are members.
                    self.recover(place)
            while True:
                if self._bus is not None and not place.subscribed:
                    raise StoreUnavailable
                if arrival.lease != span.lease:
                    self.recover(place)
                await place.established()
                if arrival.refused is not None:
                    raise RelayError(arrival.refused)
                if arrival.lease == span.lease:
                    return arrival.since
        finally:
            place.arrivals.discard(arrival)

    def entered(
        self, place: Place, member: Seated, quiet: bool, taken_from: str | None = None
    ) -> None:
        """Somebody came in; the others are told. `quiet`: only the count is told to members.
        `taken_from`: the lease under which the seat was held until now."""
        if len(member.room.members) == 1:
            self._renewal_due.add(place)
        span = place.span
        taken = taken_from is not None and not span.is_own(taken_from)
        span.announce(Tell.ALWAYS, quiet=[member.id] if quiet else (), anyway=taken)
        if span.has_late:
            place.gap()

    def passed_by(self, place: Place, occupant: Occupant, taken_from: str) -> None:
        """Somebody took a seat back, and was gone before coming in."""
        if not place.span.is_own(taken_from):
            place.span.announce(quiet=[occupant.member_id], also=[occupant], anyway=True)

    def left(self, place: Place, standing: Standing, tells: Tell) -> None:
        """The store has taken a seat back; the others are told."""
        place.span.learned(standing)
        place.span.announce(tells)

    def left_unwritten(self, place: Place, tells: bool) -> None:
        """A member went, and the store does not know it yet: the count is guessed until then."""
        place.span.announce()
        room = place.room
        if room is not None and tells:
            place.count(max(room.participants - 1, len(room.members)), anyway=True)

    def show(self, place: Place, qr: QrToken) -> None:
        """The room shows another QR token from now on, everywhere."""
        place.span.say(Said(Shown(qr.id, qr.expires_ms)))

    def _remember_spent(self, place: Place, token_id: str, expires_ms: int) -> None:
        if len(place.spent) >= _MOST_SPENT:
            now = self._now_ms()
            place.spent = {id: at for id, at in place.spent.items() if at >= now}
        place.spent[token_id] = expires_ms

    # The bus.

    def heard(self, room_id: str, data: bytes) -> None:
        place = self._places.get(room_id)
        if place is None:
            return
        envelope = self._around.seal.open(room_id, data)
        if envelope is None:
            self._metrics.bus_messages_refused += 1
            return
        self._metrics.bus_messages_received += 1
        place.span.heard(envelope)
        self.let_go(place)

    def bus_lost(self) -> None:
        for place in tuple(self._places.values()):
            place.subscribed = False
            place.shaken = True
            place.fail()
            place.span.cut()

    def bus_restored(self) -> None:
        for place in tuple(self._places.values()):
            place.span.link()
            if place.room is not None:
                self.recover(place)

    async def _subscribe(self, place: Place) -> None:
        bus = self._bus
        if bus is None or place.subscribed:
            return
        if not bus.up:
            raise StoreUnavailable
        await bus.subscribe(place.room_id)
        if not bus.up:
            raise StoreUnavailable
        place.subscribed = True

    # Time.

    def _look(self) -> None:
        self._tick = self._clock.callLater(_TICK, self._look)
        now, last = self._clock.seconds(), self._looked_at
        self._looked_at = now
        if now - last > _TICK + _STALL:
            self._log.warn(
                "this process stood still; its rooms are checked",
                event="stalled",
                seconds=now - last,
            )
            for place in tuple(self._places.values()):
                place.shaken = True
                if place.room is not None:
                    self.recover(place)

    def _renew(self, place: Place) -> None:
        self._renewal_due.add(place)
        if not place.recovering:
            Deferred.fromCoroutine(self._renew_now(place)).addErrback(self._broken, "renewal")

    async def _renew_now(self, place: Place) -> None:
        lease = place.span.lease
        try:
            standing = await self._store.renew(place.room_id, lease)
        except StoreUnavailable:
            self._log.debug("a room's renewal waits for the store", event="renewal_delayed")
            return
        if place.recovering or place.span.lease != lease or place.room is None:
            return
        if standing is None or (place.shaken and self._is_linked):
            self.recover(place)
            return
        if standing.reaped:
            self._metrics.leases_reaped += 1
        place.span.renewed(standing)

    @property
    def _is_linked(self) -> bool:
        return self._bus is None or self._bus.up

    # Recovery.

    def recover(self, place: Place) -> None:
        """Find out how the room stands, and register it anew if that is not certain."""
        if place.recovering:
            place.again = True
            return
        place.recovering = True
        Deferred.fromCoroutine(self._recover(place)).addErrback(self._broken, "recovery")

    async def _recover(self, place: Place) -> None:
        try:
            place.again = True
            while place.again and (place.room is not None or place.arrivals):
                place.again = False
                await self._recover_once(place)
        except StoreUnavailable:
            # The next renewal, or the bus when it is there again, asks anew.
            place.span.release()
            place.fail()
        finally:
            place.recovering = False
            place.changed()
            self.let_go(place)

    async def _recover_once(self, place: Place) -> None:
        span = place.span
        was_alone, revision, former = span.is_alone, span.newest.revision, span.lease
        span.hold()
        await self._subscribe(place)
        if was_alone and all(arrival.lease == former for arrival in place.arrivals):
            standing = await self._store.renew(place.room_id, former)
            if standing is not None and standing.revision == revision:
                place.shaken = False
                span.release()
                return
        # The same again after a vain attempt, which may have been written.
        lease = place.next_lease = place.next_lease or self._new_lease()
        registration = self._registration(place, lease)
        if not registration.members:
            span.release()
            return
        registered = await self._store.register(place.room_id, registration)
        place.next_lease = ""
        self._metrics.rooms_recovered += 1
        self._admit(place, registration, registered)
        was_never_missed = was_alone and registered.made_anew
        shaken, place.shaken = place.shaken, False
        span.begin_again(lease, registered.standing, apart=was_alone)
        if shaken or not (was_never_missed and span.is_alone):
            place.gap()

    def _registration(self, place: Place, lease: str) -> Registration:
        members = [
            Entry(
                member.id,
                member.hold,
                lease,
                generation=member.came_with,
                label_number=automatic_number(member.label),
            )
            for member in place.members
        ]
        members += [attrs.evolve(arrival.entry, lease=lease) for arrival in place.arrivals]
        now, room = self._now_ms(), place.room
        qr = None
        if room is not None and room.qr_expires_ms > now:
            qr = QrToken(room.qr_id, room.qr_expires_ms)
        return Registration(
            lease,
            place.span.lease,
            tuple(members),
            place.span.newest.revision,
            place.number,
            qr,
            tuple((id, at) for id, at in place.spent.items() if at > now),
        )

    def _admit(self, place: Place, registration: Registration, outcome: Registered) -> None:
        """Part from those to whom the store gave no seat."""
        asked = {entry.hold for entry in registration.members}
        for arrival in place.arrivals:
            if arrival.entry.hold not in asked:
                continue
            arrival.lease = registration.lease
            if arrival.entry.member_id in outcome.replaced:
                arrival.refused = Code.TOKEN_REPLAY
            elif arrival.entry.member_id in outcome.crowded_out:
                arrival.refused = Code.ROOM_FULL
        for member in place.members:
            if member.hold not in asked:
                continue
            if member.id in outcome.replaced:
                self._around.put_out(member, Close.REPLACED)
            elif member.id in outcome.crowded_out:
                self._around.put_out(member, Close.TRY_AGAIN_LATER)
