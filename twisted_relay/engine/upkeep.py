"""What goes on by itself while a room has members here: QR rotation, fresh tokens."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
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


class Upkeep:
    """Keeps a room's tokens fresh, for as long as it has members here.

    Args:
        show: called with a room and the QR token that this instance chose for all of it.
        broken: called with the failure of what nobody waits for, and what it was about.
    """

    def __init__(
        self,
        clock: IReactorTime,
        limits: RoomLimits,
        store: IRoomStore,
        rooms: Rooms[Client],
        issuer: Issuer,
        notices: Notices,
        show: Callable[[LocalRoom, QrToken], None],
        broken: Callable[[Failure, str], None],
    ) -> None:
        self._store = store
        self._rooms = rooms
        self._issuer = issuer
        self._notices = notices
        self._show = show
        self._broken = broken
        self._qr_due = Deadlines[LocalRoom](
            clock, limits.qr_rotation_ms / 1000, lambda room: self.rotate_qr(room, room.qr_id)
        )
        self._token_due = Deadlines[Seated](
            clock, issuer.next_token_ttl_ms / 1000 * _REFRESH_AT, self._refresh
        )

    def stop(self) -> None:
        """Nothing goes on any more."""
        for deadlines in (self._qr_due, self._token_due):
            deadlines.stop()

    def seated(self, member: Seated) -> None:
        """A member came: its token's time begins to run."""
        self._token_due.add(member)

    def unseated(self, member: Seated) -> None:
        """A member went; with the last one the room's QR token is no longer ours to rotate."""
        self._token_due.cancel(member)
        if member.room not in self._rooms:
            self._qr_due.cancel(member.room)

    def shows_qr(self, room: LocalRoom, qr: QrToken) -> None:
        """The room shows this QR token from now on, and another when it expires."""
        room.qr_id, room.qr_expires_ms = qr.id, qr.expires_ms
        self._qr_due.add(room, self._issuer.seconds_left(qr))

    def rotate_qr(self, room: LocalRoom, stale_id: str) -> None:
        """Show the room a fresh QR token in place of `stale_id`; nobody waits for it."""
        self._qr_due.add(room)
        Deferred.fromCoroutine(self._rotate_qr(room, stale_id)).addErrback(
            self._broken, "QR_ROTATED"
        )

    def tell_qr(self, room: LocalRoom, qr: QrToken) -> None:
        """The room shows another QR token, whichever instance chose it; its members are told."""
        self.shows_qr(room, qr)
        self._notices.qr_rotated(room, self._issuer.qr_token(room.id, qr))

    async def _rotate_qr(self, room: LocalRoom, stale_id: str) -> None:
        fresh = self._issuer.fresh_qr()
        try:
            shown = await self._store.rotate_qr(room.id, fresh, stale_id)
        except (StoreUnavailable, RelayError):
            # The next turn of the rotation asks again.
            return
        if room not in self._rooms:
            return
        if shown == fresh:
            self._show(room, shown)
        elif shown.id != room.qr_id:
            # Another instance chose it, and tells the others itself.
            self.tell_qr(room, shown)
        else:
            self.shows_qr(room, shown)

    def _refresh(self, member: Seated) -> None:
        self._token_due.add(member)
        self._notices.token(member, self._issuer.next_token(member))
