"""What the parts of the relay ask of each other.

A *lease* is one instance's claim to have members in a room: a random name that is never used for
another stay, and that lapses unless it is renewed. A *hold* is one connection's claim to a seat: a
random name that is chosen before the store is asked, so that a seat can be given back even when
the answer never came.
"""

from __future__ import annotations

from collections.abc import Awaitable

import attrs
from zope.interface import Attribute, Interface

from twisted_relay.core.errors import Close
from twisted_relay.core.rooms import Standing as Standing
from twisted_relay.core.settings import RoomLimits

#: Seconds after which a lease that was not renewed has lapsed, by the store's clock.
LEASE_SECONDS = 10.0


class StoreUnavailable(Exception):
    """The room state cannot be reached, or did not answer in time. Nothing is known of the
    outcome: the write may have happened, or may still happen until `IRoomStore.settles_after`."""


class StoreAbsent(StoreUnavailable):
    """The store was not even asked: nothing has happened."""


class StoreRefused(StoreUnavailable):
    """The store has answered that it cannot do this: nothing has happened. Other rooms may fare
    better."""


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
        hold: names this holding of the seat; never used for another.
        lease: names the stay of the asking instance in the room.
        token_id: the ``jti`` to spend; None for one who comes back.
        token_expires_ms: when that token expires, so that it is remembered long enough.
        generation: the generation of the token of one who comes back; None for a newcomer.
        label_number: n, if the member's label is ``P<n>``: no automatic label repeats it while
            the member is there.
    """

    member_id: str
    hold: str
    lease: str
    token_id: str | None = None
    token_expires_ms: int = 0
    generation: int | None = None
    label_number: int = 0


@attrs.frozen
class Seat:
    """A seat that was given.

    Attributes:
        number: for a newcomer's label ``P<number>``: higher than any given before, and no
            present member's.
        standing: the room with this member in it.
        qr_spent: whether the token spent was the room's QR token.
        first: whether the lease was not there before: the first member of this stay.
        taken_from: the other lease under which somebody held this very seat until now, if so.
    """

    number: int
    standing: Standing
    qr_spent: bool = False
    first: bool = True
    taken_from: str | None = None


@attrs.frozen
class Registration:
    """What an instance knows of a room that the store may have lost, or dropped it from.

    Attributes:
        lease: the name of the stay from now on.
        former: its name until now; no seat stays under it.
        members: those who are here, each with its present `hold` and the generation it came in
            with.
        revision: the highest revision that this instance has heard of.
        number: the highest number for a label that it has heard of.
        qr: the QR token that it shows its members.
        spent: tokens that it knows to be spent, each with its expiry, Unix milliseconds.
    """

    lease: str
    former: str
    members: tuple[Entry, ...]
    revision: int
    number: int = 0
    qr: QrToken | None = None
    spent: tuple[tuple[str, int], ...] = ()


@attrs.frozen
class Registered:
    """The outcome of a registration.

    Attributes:
        standing: the room with those members in it who were admitted.
        replaced: members whose seat is held by another connection, or was taken back by one.
        crowded_out: members for whom there was no room any more.
        made_anew: whether the room was not there.
    """

    standing: Standing
    replaced: frozenset[str] = frozenset()
    crowded_out: frozenset[str] = frozenset()
    made_anew: bool = False


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
    `StoreUnavailable`; each is one atomic step on one room. Nothing lives for ever: whatever is
    not renewed expires.

    Each step first drops the lapsed leases of its room, with the seats held under them, unless
    this instance cannot be sure that it was not itself, or the store, that stood still.
    """

    settles_after = Attribute(
        "Seconds after a `StoreUnavailable` within which what was asked may still happen; float."
    )

    def change(limits: RoomLimits) -> None:
        """Go by other limits from now on; what is in a room already stays in it."""

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

    def leave(
        room_id: str, member_id: str, hold: str, for_good: bool, token_id: str | None = None
    ) -> Awaitable[Standing | None]:
        """Give a seat back, and with it the token that was spent for it, where nobody ever sat in
        it. Returns the room without the member, or None if the seat is not held by `hold` (then
        nothing changed). The last one to leave for good takes the room along; otherwise an empty
        room waits for the grace time."""

    def renew(room_id: str, lease: str) -> Awaitable[Standing | None]:
        """The room has live members under this lease: let both live on for their whole time.
        None, and nothing changed, if the room or the lease is not there (any more)."""

    def register(room_id: str, registration: Registration) -> Awaitable[Registered]:
        """Put the members of an instance (back) into a room, which is made anew if it is not
        there. May be repeated. A member that the store holds under the same hold keeps the seat;
        one that it does not hold gets one if nobody took it back with a later generation and
        there is room. No seat stays under the former lease, nor under the new one, that is not
        among the members."""

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


class IBusOwner(Interface):
    """Who listens to a bus. Called from the reactor, never from within a call to the bus."""

    def heard(room_id: str, data: bytes) -> None:
        """Something was published for a subscribed room, perhaps by this instance itself."""

    def bus_lost() -> None:
        """A link was lost: what was published may not have been heard, what others published may
        not be heard. No subscription holds any more."""

    def bus_restored() -> None:
        """The links are there again; rooms can be subscribed anew."""


class IBus(Interface):
    """One channel for each room, between all instances.

    What one instance publishes is heard in the order in which it was published, at most once, and
    all who are subscribed hear one order. Each loss is told by `bus_lost`, and none is silent.
    """

    up = Attribute("Whether the links are there; between `bus_restored` and `bus_lost`; bool.")

    def attach(owner: IBusOwner) -> None:
        """Who is to be told; once, before `start`."""

    def subscribe(room_id: str) -> Awaitable[None]:
        """Hear a room from when this is done. Raises `StoreUnavailable`."""

    def unsubscribe(room_id: str) -> None:
        """Hear a room no more."""

    def publish(room_id: str, data: bytes) -> bool:
        """Send to all who hear the room, this instance too if it does; False, and nothing was
        sent, while the bus is not `up`."""

    def start() -> None:
        """Connect, and stay connected."""

    def stop() -> Awaitable[None]:
        """Part; nobody is told of anything any more."""


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
