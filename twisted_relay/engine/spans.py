"""All rooms of this instance, as the store and the other instances know them: the bus heard,
comings and goings told."""

from __future__ import annotations

from collections.abc import Callable

from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_relay.core.bus import Occupant, Shown, Tell
from twisted_relay.core.errors import RelayError
from twisted_relay.core.port import Said
from twisted_relay.core.rooms import Standing
from twisted_relay.core.settings import RoomLimits
from twisted_relay.engine.client import LocalRoom, Seated
from twisted_relay.engine.interfaces import (
    Entry,
    IBusOwner,
    IRoomStore,
    QrToken,
    Seat,
    StoreUnavailable,
)
from twisted_relay.engine.place import Arrival, Place, Surroundings
from twisted_relay.engine.recovery import Recovery
from twisted_relay.engine.renewals import Renewals
from twisted_relay.engine.stalls import stall_watch

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
        self._bus = around.bus
        self._metrics = around.metrics
        self._new_lease = new_lease
        self._now_ms = now_ms
        self._places: dict[str, Place] = {}
        self._stalls = stall_watch(around.clock, self._stalled)
        self._renewals = Renewals(around, limits, store, broken)
        self._recovery = Recovery(
            around,
            store,
            new_lease,
            now_ms,
            self._subscribe,
            self.let_go,
            self._renewals.soon,
            broken,
        )
        if self._bus is not None:
            self._bus.attach(self)

    def __len__(self) -> int:
        return len(self._places)

    def start(self) -> None:
        """Begin to look whether the process stands still."""
        if self._bus is not None:
            self._stalls.start()

    def stop(self) -> None:
        """Nothing goes on any more."""
        self._renewals.stop()
        self._stalls.stop()
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
        is_needed = place.users or place.recovering or place.room is not None
        if is_needed or self._places.get(place.room_id) is not place:
            return
        del self._places[place.room_id]
        self._renewals.end(place)
        place.forget()
        if self._bus is not None and place.subscribed:
            self._bus.unsubscribe(place.room_id)

    def recover(self, place: Place) -> None:
        """The store, or the others, do not know this room as it is here."""
        self._recovery.begin(place)

    def of(self, room_id: str) -> Place | None:
        """The room's place, if it has one."""
        return self._places.get(room_id)

    async def ready(self, place: Place) -> None:
        """Hear the room's channel, before the store makes others speak on it. Raises
        StoreUnavailable."""
        if place.shaken and place.room is not None:
            # The store may have lost the room, and nobody is to be told that it is gone.
            await self.regain(place)
        elif place.recovering:
            await place.established()
        if self._bus is not None and not place.subscribed:
            await self._subscribe(place)

    async def regain(self, place: Place) -> None:
        """Let the store have the room as it is here. Raises StoreUnavailable."""
        if not place.recovering:
            self._recovery.begin(place)
        if place.recovering:
            await place.established()

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
                    self._recovery.begin(place)
            while True:
                if self._bus is not None and not place.subscribed:
                    raise StoreUnavailable
                if arrival.lease != span.lease:
                    self._recovery.begin(place)
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
            self._renewals.begin(place)
        span = place.span
        taken = taken_from is not None and not span.view.is_own(taken_from)
        span.announce(Tell.ALWAYS, quiet=[member.id] if quiet else (), anyway=taken)
        if span.view.late:
            place.gap()

    def passed_by(self, place: Place, occupant: Occupant, taken_from: str) -> None:
        """Somebody took a seat back, and was gone before coming in."""
        if not place.span.view.is_own(taken_from):
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

    def show(self, room: LocalRoom, qr: QrToken) -> None:
        """The room shows another QR token from now on, everywhere."""
        place = self._places.get(room.id)
        if place is not None:
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
            place.shake()
            place.fail()
            place.span.cut()

    def bus_restored(self) -> None:
        # What a room says goes out again once the store has confirmed the room.
        for place in tuple(self._places.values()):
            if place.room is not None:
                self._recovery.begin(place)

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
        if place.room is None:
            place.span.link()

    def _stalled(self) -> None:
        for place in tuple(self._places.values()):
            place.shake()
            if place.room is not None:
                self._recovery.begin(place)
