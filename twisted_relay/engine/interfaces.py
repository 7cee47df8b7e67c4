"""What the parts of the relay ask of each other."""

from __future__ import annotations

from collections.abc import Awaitable

import attrs
from zope.interface import Attribute, Interface

from twisted_relay.core.errors import Close


class StoreUnavailable(Exception):
    """The room state cannot be reached, or did not answer in time. Nothing is known of the
    outcome: the write may have happened."""


@attrs.frozen
class QrToken:
    """The QR token that a room shows: its ``jti`` and when it expires, Unix milliseconds."""

    id: str
    expires_ms: int


@attrs.frozen
class Entry:
    """Who wants a seat.

    Attributes:
        member_id: the seat: new, or that of a member who comes back.
        token_id: the ``jti`` to spend; None for one who comes back.
        token_expires_ms: when that token expires, so that it is remembered long enough.
        generation: the generation of the token of one who comes back; None for a newcomer.
        label_number: n, if the member's label is ``P<n>``: no automatic label repeats it while
            the member is there.
    """

    member_id: str
    token_id: str | None = None
    token_expires_ms: int = 0
    generation: int | None = None
    label_number: int = 0


@attrs.frozen
class Seat:
    """A seat that was given.

    Attributes:
        epoch: the holding of this seat; a later leave must name it.
        number: for a newcomer's label ``P<number>``: higher than any given before, and no
            present member's.
        participants: members of the whole room, this one included.
        qr_spent: whether the token spent was the room's QR token.
    """

    epoch: int
    number: int
    participants: int
    qr_spent: bool = False


@attrs.frozen
class StoreStatus:
    """What a probe may say of the store; a value kept fresh, never asked for.

    Attributes:
        kind: ``embedded`` or ``redis``.
        ready: whether rooms can be created and joined.
        latency_ms: the last round trip, where there is one.
        message: a sentence for the operator.
    """

    kind: str
    ready: bool
    latency_ms: float | None
    message: str


class IRoomStore(Interface):
    """The rooms that all instances share. Every method but `status` is asynchronous and may raise
    `StoreUnavailable`; each is one atomic step. Nothing lives for ever: whatever is not renewed
    expires."""

    def create(
        room_id: str, address_key: str, entry: Entry | None, qr: QrToken | None
    ) -> Awaitable[Seat | None]:
        """A new room, with its first member where `entry` is given.

        Raises RelayError(RATE_LIMITED) with `retry_after_ms` when this address made too many.
        """

    def join(room_id: str, entry: Entry) -> Awaitable[Seat]:
        """A seat in a room. Raises RelayError, checked in this order: TOKEN_EXPIRED, TOKEN_REPLAY,
        NO_ROOM, ROOM_FULL. Only success spends the token. One who still holds the seat loses it.

        A token's expiry is checked before, but time passes until the store decides: one that it
        would no longer remember as spent is expired for it.
        """

    def leave(room_id: str, member_id: str, epoch: int, for_good: bool) -> Awaitable[int | None]:
        """Give a seat back. Returns the members left, or None if that epoch no longer holds the
        seat (then nothing changed). The last one to leave for good takes the room along;
        otherwise an empty room waits for the grace time."""

    def renew(room_id: str) -> Awaitable[None]:
        """The room has live members here: let it live on for its whole time."""

    def exists(room_id: str) -> Awaitable[bool]:
        """Whether the room can be joined."""

    def rotate_qr(room_id: str, fresh: QrToken, stale_id: str) -> Awaitable[QrToken]:
        """Show `fresh` in place of `stale_id`. Returns what the room shows now, which is another
        instance's choice if that came first. Raises RelayError(NO_ROOM)."""

    def status() -> StoreStatus:
        """For the probes; answers at once."""

    def start() -> None:
        """Begin to keep time."""

    def stop() -> Awaitable[None]:
        """End; nothing may be asked afterwards."""


class IConnection(Interface):
    """A client's connection, as the relay sees it."""

    address_key = Attribute("The address as limits count it; str.")
    client_address = Attribute("The whole address, for the log to cut as the operator chose.")

    def write(data: bytes) -> None:
        """Send encoded frames; nothing happens on a connection that is closing."""

    def ping() -> None:
        """Send a WebSocket ping (RFC 6455 section 5.5.2)."""

    def unsent_bytes() -> int:
        """Bytes written that the network has not yet taken."""

    def pause() -> None:
        """Read no more from the client for now; harmless if that is so already."""

    def resume() -> None:
        """Read on; harmless if nothing was paused."""

    def close(why: Close) -> None:
        """Send a close frame with this code and reason, then end the connection."""
