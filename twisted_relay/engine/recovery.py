"""The one way out of every doubt about a room.

A link was lost, a lease lapsed, the store forgot, the process stood still: ask the store, and if
all is as it was, go on; otherwise register the room under a new lease, ask the others to answer,
and tell members GAP.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import attrs
from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.python.failure import Failure

from twisted_relay.core.errors import Close, Code
from twisted_relay.core.rooms import automatic_number
from twisted_relay.engine.interfaces import (
    LEASE_SECONDS,
    Entry,
    IRoomStore,
    QrToken,
    Registered,
    Registration,
    StoreUnavailable,
)
from twisted_relay.engine.place import Place, Surroundings

#: Rooms that are found out about at once.
_AT_ONCE = 64


class Recovery:
    """Finds out how rooms stand, and registers them anew where that is not certain.

    Args:
        around: what all places share.
        store: the rooms of all instances.
        new_lease: makes a name for a stay.
        now_ms: Unix time in milliseconds.
        subscribe: hears a room's channel. Raises StoreUnavailable.
        let_go: called with a place that may have nobody any more.
        again: called with a place that is to be looked at again soon.
        broken: called with the failure of what nobody waits for, and what it was about.
    """

    def __init__(
        self,
        around: Surroundings,
        store: IRoomStore,
        new_lease: Callable[[], str],
        now_ms: Callable[[], int],
        subscribe: Callable[[Place], Awaitable[None]],
        let_go: Callable[[Place], None],
        again: Callable[[Place], None],
        broken: Callable[[Failure, str], None],
    ) -> None:
        self._around = around
        self._store = store
        self._new_lease = new_lease
        self._now_ms = now_ms
        self._subscribe = subscribe
        self._let_go = let_go
        self._again = again
        self._broken = broken
        # A link that came back finds thousands of rooms: all asked at once, the last would be
        # answered after the time limit, and what is held would be held for as long.
        self._turns = DeferredSemaphore(_AT_ONCE)

    def begin(self, place: Place) -> None:
        """Find out how the room stands, and register it anew if that is not certain."""
        if place.recovering:
            place.again = True
            return
        place.recovering = True
        Deferred.fromCoroutine(self._recover(place)).addErrback(self._broken, "recovery")

    async def _recover(self, place: Place) -> None:
        try:
            # Not while it has a turn: the others need not wait for this room.
            await place.settled()
            await self._turns.acquire()
            try:
                place.again = True
                while place.again and (place.room is not None or place.arrivals):
                    place.again = False
                    await self._recover_once(place)
            finally:
                self._turns.release()
        except Exception as fault:
            place.span.release()
            place.fail()
            if place.room is not None:
                self._again(place)
            if not isinstance(fault, StoreUnavailable):
                raise
        finally:
            place.recovering = False
            place.changed()
            self._let_go(place)

    async def _recover_once(self, place: Place) -> None:
        span = place.span
        was_alone, former = span.view.is_alone, span.lease
        # Later it may be heard that the others, meanwhile, were without this instance.
        span.view.apart |= was_alone
        span.hold()
        await self._subscribe(place)
        if was_alone and all(arrival.lease == former for arrival in place.arrivals):
            standing = await self._store.renew(place.room_id, former)
            if standing is not None and place.is_as_before(standing):
                place.shaken = span.view.apart = False
                span.link()
                span.release()
                return
        # The same again after a vain attempt, which may have been written.
        lease = place.next_lease = place.next_lease or self._new_lease()
        registration = self._registration(place, lease)
        if not registration.members:
            span.release()
            return
        try:
            registered = await self._store.register(place.room_id, registration)
        except StoreUnavailable:
            # It must not be written after the next one.
            place.settles_in(self._store.settles_after)
            raise
        place.next_lease = ""
        self._around.metrics.rooms_recovered += 1
        self._admit(place, registration, registered)
        was_never_missed = was_alone and registered.made_anew
        shaken, place.shaken = place.shaken, False
        span.link()
        span.begin_again(lease, registered.standing, apart=span.view.apart)
        place.miss_for(LEASE_SECONDS)
        if shaken or not (was_never_missed and span.view.is_alone):
            place.gap()

    def _registration(self, place: Place, lease: str) -> Registration:
        coming = {arrival.entry.member_id for arrival in place.arrivals}
        for member in place.members:
            if member.id in coming:
                # The store has given its seat to the one who is coming.
                self._around.put_out(member, Close.REPLACED)
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
            place.span.view.newest.revision,
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
