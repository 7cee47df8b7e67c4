"""What goes on by itself while a room has members here: QR rotation, renewal, fresh tokens."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_relay.core.errors import RelayError
from twisted_relay.core.rooms import Rooms
from twisted_relay.core.settings import RoomLimits
from twisted_relay.engine.client import Client, LocalRoom, Seated
from twisted_relay.engine.deadlines import Deadlines
from twisted_relay.engine.interfaces import IRoomStore, QrToken, StoreUnavailable
from twisted_relay.engine.issuer import Issuer
from twisted_relay.engine.notices import Notices

#: The part of a nextToken's life after which its successor is sent.
_REFRESH_AT = 0.8
#: A room is renewed this often within its time to live, though not every few seconds.
_RENEWALS_PER_TTL = 4
_SHORTEST_RENEWAL = 5.0


class Upkeep:
    """Keeps rooms alive and their tokens fresh, for as long as they have members here.

    Args:
        broken: called with the failure of what nobody waits for, and what it was about.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        limits: RoomLimits,
        store: IRoomStore,
        rooms: Rooms[Client],
        issuer: Issuer,
        notices: Notices,
        broken: Callable[[Failure, str], None],
    ) -> None:
        self._store = store
        self._rooms = rooms
        self._issuer = issuer
        self._notices = notices
        self._broken = broken
        often = max(_SHORTEST_RENEWAL, limits.key_ttl_ms / 1000 / _RENEWALS_PER_TTL)
        # A room must not die between two renewals, however short its time was set.
        renewal = min(often, limits.key_ttl_ms / 1000 / 2)
        self._qr_due = Deadlines[LocalRoom](
            clock, limits.qr_rotation_ms / 1000, lambda room: self.rotate_qr(room, room.qr_id)
        )
        self._renewal_due = Deadlines[LocalRoom](clock, renewal, self._renew)
        self._token_due = Deadlines[Seated](
            clock, issuer.next_token_ttl_ms / 1000 * _REFRESH_AT, self._refresh
        )

    def stop(self) -> None:
        """Nothing goes on any more."""
        for deadlines in (self._qr_due, self._renewal_due, self._token_due):
            deadlines.stop()

    def seated(self, member: Seated) -> None:
        """A member came: its token, and its room's time, begin to run."""
        self._token_due.add(member)
        if len(member.room.members) == 1:
            self._renewal_due.add(member.room)

    def unseated(self, member: Seated) -> None:
        """A member went; with the last one the room's time is no longer ours to renew."""
        self._token_due.cancel(member)
        if member.room not in self._rooms:
            self._qr_due.cancel(member.room)
            self._renewal_due.cancel(member.room)

    def shows_qr(self, room: LocalRoom, qr: QrToken) -> None:
        """The room shows this QR token from now on, and another when it expires."""
        room.qr_id = qr.id
        self._qr_due.add(room, self._issuer.seconds_left(qr))

    def rotate_qr(self, room: LocalRoom, stale_id: str) -> None:
        """Show the room a fresh QR token in place of `stale_id`; nobody waits for it."""
        self._qr_due.add(room)
        Deferred.fromCoroutine(self._rotate_qr(room, stale_id)).addErrback(
            self._broken, "QR_ROTATED"
        )

    async def _rotate_qr(self, room: LocalRoom, stale_id: str) -> None:
        try:
            shown = await self._store.rotate_qr(room.id, self._issuer.fresh_qr(), stale_id)
        except (StoreUnavailable, RelayError):
            # The next turn of the rotation asks again.
            return
        if room in self._rooms:
            self.shows_qr(room, shown)
            self._notices.qr_rotated(room, self._issuer.qr_token(room.id, shown))

    def _renew(self, room: LocalRoom) -> None:
        self._renewal_due.add(room)
        Deferred.fromCoroutine(self._renew_now(room)).addErrback(self._broken, "renewal")

    async def _renew_now(self, room: LocalRoom) -> None:
        try:
            await self._store.renew(room.id)
        except StoreUnavailable:
            self._log.debug("a room's renewal waits for the store", event="renewal_delayed")

    def _refresh(self, member: Seated) -> None:
        self._token_due.add(member)
        self._notices.token(member, self._issuer.next_token(member))
