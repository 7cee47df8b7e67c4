"""Leases kept alive: each room with members here is renewed again and again in the store."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_relay.core.settings import RoomLimits
from twisted_relay.engine.deadlines import Deadlines
from twisted_relay.engine.interfaces import LEASE_SECONDS, IRoomStore, StoreUnavailable
from twisted_relay.engine.place import Place, Surroundings

#: Seconds between two renewals of a lease: three fit into its life.
_RENEWAL = LEASE_SECONDS * 0.3
#: A room without leases to renew is renewed this often within its time to live.
_RENEWALS_PER_TTL = 4
_SHORTEST_RENEWAL = 5.0
#: The part of a renewal's time by which renewals are spread, and a step that spreads them evenly.
_JITTER = 0.2
_GOLDEN = 0.618
#: Seconds until a room is looked at again that could not be registered.
_AGAIN = 1.0


class Renewals:
    """Renews rooms in the store, and doubts those that the store has otherwise than they are here.

    Args:
        around: what all places share.
        limits: times to live.
        store: the rooms of all instances.
        broken: called with the failure of what nobody waits for, and what it was about.
    """

    _log = Logger()

    def __init__(
        self,
        around: Surroundings,
        limits: RoomLimits,
        store: IRoomStore,
        broken: Callable[[Failure, str], None],
    ) -> None:
        self._around = around
        self._store = store
        self._broken = broken
        ttl = limits.key_ttl_ms / 1000
        # A room must not die between two renewals, however short its time was set.
        rarely = min(max(_SHORTEST_RENEWAL, ttl / _RENEWALS_PER_TTL), ttl / 2)
        self._period = rarely if around.bus is None else min(_RENEWAL, ttl / 2)
        self._spread = 0.0
        self._due = Deadlines[Place](around.clock, self._period, self._renew)

    def begin(self, place: Place) -> None:
        """Renew a room from now on."""
        self._due.add(place)

    def soon(self, place: Place) -> None:
        """Renew it earlier than it would be due: something went wrong."""
        self._due.add(place, _AGAIN)

    def end(self, place: Place) -> None:
        """Renew it no more."""
        self._due.cancel(place)

    def stop(self) -> None:
        """Renew nothing more."""
        self._due.stop()

    def _renew(self, place: Place) -> None:
        # Rooms that were made or recovered together must not all come due together for ever.
        self._spread = (self._spread + _GOLDEN) % 1
        self._due.add(place, self._period * (1 - _JITTER * self._spread))
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
            self._around.doubted(place)
            return
        if standing.reaped:
            self._around.metrics.leases_reaped += 1
        # Somebody may have taken a seat from here and been lost before the news was out, or the
        # other way round. While the room does not change, that is no matter of who is under way.
        differs = standing.held is not None and standing.held != len(place.members)
        if differs and place.differed_at == standing.revision:
            self._around.doubted(place)
            return
        place.differed_at = standing.revision if differs else None
        place.span.renewed(standing)

    @property
    def _is_linked(self) -> bool:
        bus = self._around.bus
        return bus is None or bus.up
