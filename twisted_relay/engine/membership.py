"""Coming, going and coming back: the awaited part of the relay.

The store decides who has a seat; what is decided is then made true here, and told to those whom
it concerns. Between the question and the answer the client may have gone: a seat that is given to
nobody is handed back at once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from twisted_relay.core import wire
from twisted_relay.core.errors import Code, RelayError
from twisted_relay.core.rooms import Rooms, automatic_number
from twisted_relay.core.tokens import Claims
from twisted_relay.engine.client import Client, LocalRoom
from twisted_relay.engine.interfaces import (
    Entry,
    IRoomStore,
    Seat,
    StoreAbsent,
    StoreRefused,
    StoreUnavailable,
)
from twisted_relay.engine.issuer import Issuer
from twisted_relay.engine.notices import Notices
from twisted_relay.engine.place import Place
from twisted_relay.engine.seats import Seats
from twisted_relay.engine.spans import Spans
from twisted_relay.engine.upkeep import Upkeep


class Membership:
    """Carries out creates, joins, leaves and drops.

    Args:
        broken: called with the failure of what nobody waits for, and what it was about.
    """

    def __init__(
        self,
        store: IRoomStore,
        rooms: Rooms[Client],
        spans: Spans,
        seats: Seats,
        issuer: Issuer,
        notices: Notices,
        upkeep: Upkeep,
        broken: Callable[[Failure, str], None],
    ) -> None:
        self._store = store
        self._rooms = rooms
        self._spans = spans
        self._seats = seats
        self._issuer = issuer
        self._notices = notices
        self._upkeep = upkeep
        self._broken = broken

    async def create(self, client: Client, frame: wire.RoomCreate) -> None:
        """ROOM_CREATE. Raises RelayError or StoreUnavailable, and then nothing has changed."""
        room_id, qr = self._issuer.random_id(), self._issuer.fresh_qr()
        place = self._spans.open(room_id)
        try:
            await self._spans.ready(place)
            entry = Entry(
                self._issuer.random_id(),
                self._issuer.random_id(),
                place.span.lease,
                label_number=automatic_number(frame.body.label),
            )
            seat, since = await self._seat(
                place,
                entry,
                self._store.create(room_id, client.connection.address_key, entry, qr),
                for_good=True,
            )
            member = self._seats.enter(client, place, entry, seat, since, _cut(frame.body.label))
            if member is None:
                return
            self._upkeep.shows_qr(member.room, qr)
            self._notices.created(
                member,
                self._issuer.qr_token(room_id, qr),
                self._issuer.next_token(member),
                frame.id,
            )
            self._spans.entered(place, member, quiet=True)
        finally:
            self._spans.close(place)

    async def join(self, client: Client, frame: wire.JoinRequest) -> None:
        """JOIN_REQUEST. Raises RelayError or StoreUnavailable, and then nothing has changed."""
        body = frame.body
        claims = self._issuer.verify(body.qrToken or body.token or "", body.roomId)
        comes_back = claims.mid is not None
        label = _cut(body.label) or claims.lbl
        place = self._spans.open(body.roomId)
        try:
            await self._spans.ready(place)
            entry, seat, since = await self._join(place, claims, label)
            member = self._seats.enter(client, place, entry, seat, since, label)
            if member is None:
                return
            self._notices.joined(member, self._issuer.next_token(member), comes_back, frame.id)
            self._spans.entered(place, member, quiet=comes_back, taken_from=seat.taken_from)
            room = member.room
            # A token that came back once is on show here, though the store shows it no more.
            if seat.qr_spent or room.qr_id in ("", claims.jti):
                stale = claims.jti if seat.qr_spent else room.qr_id
                Deferred.fromCoroutine(self._rotate_qr(place, room, stale)).addErrback(
                    self._broken, "QR_ROTATED"
                )
        finally:
            self._spans.close(place)

    async def _rotate_qr(self, place: Place, room: LocalRoom, stale_id: str) -> None:
        # A comer hears JOINED, SYSTEM_MSG and ROOM_STATS in this order, and nothing in between.
        await place.caught_up()
        if room in self._rooms:
            self._upkeep.rotate_qr(room, stale_id)

    async def _join(
        self, place: Place, claims: Claims, label: str | None
    ) -> tuple[Entry, Seat, int]:
        """A seat in a room. If there are members here and the store knows of no such room, it has
        lost the room and gets it back first."""
        for _ in range(2):
            try:
                return await self._ask_for_seat(place, claims, label)
            except RelayError as error:
                if error.code is not Code.NO_ROOM or place.room is None:
                    raise
            await self._spans.regain(place)
        raise StoreUnavailable

    async def _ask_for_seat(
        self, place: Place, claims: Claims, label: str | None
    ) -> tuple[Entry, Seat, int]:
        comes_back = claims.mid is not None
        entry = Entry(
            claims.mid or self._issuer.random_id(),
            self._issuer.random_id(),
            place.span.lease,
            token_id=None if comes_back else claims.jti,
            token_expires_ms=claims.exp,
            generation=claims.gen if comes_back else None,
            label_number=automatic_number(label),
        )
        seat, since = await self._seat(place, entry, self._store.join(place.room_id, entry))
        return entry, seat, since

    async def leave(self, client: Client, frame: wire.Leave) -> None:
        """LEAVE: answered once the store knows, or cannot be told for now."""
        member = client.member
        if member is None:
            raise RelayError(Code.NOT_IN_ROOM)
        await self._seats.give_up(member, for_good=True)
        if not client.session.is_closed:
            client.session.left()
            self._notices.left(client, member.room.id, frame.id)

    def drop(self, client: Client) -> None:
        """The connection is gone: so is its seat, unless another connection has it by now."""
        if client.member is not None:
            Deferred.fromCoroutine(self._seats.give_up(client.member, for_good=False)).addErrback(
                self._broken, "LEAVE"
            )

    async def create_empty(self, address_key: str) -> str:
        """A room that waits for its first member; its id."""
        room_id = self._issuer.random_id()
        await self._store.create(room_id, address_key, None, None)
        return room_id

    async def room_token(self, room_id: str) -> tuple[str, int]:
        """A join token for a room. Raises RelayError(NO_ROOM) or StoreUnavailable."""
        if not await self._store.exists(room_id):
            raise RelayError(Code.NO_ROOM)
        return self._issuer.http_token(room_id)

    async def _seat(
        self, place: Place, entry: Entry, asked: Awaitable[Seat | None], for_good: bool = False
    ) -> tuple[Seat, int]:
        """The seat, once its holder may come in, and the revision with which it came."""
        try:
            seat = await asked
        except (StoreAbsent, StoreRefused):
            raise
        except StoreUnavailable:
            # It may have been given, or may still be: it is given back once that is certain.
            self._seats.give_back(place, entry, for_good, self._store.settles_after)
            raise
        if seat is None:
            raise StoreUnavailable
        try:
            return seat, await self._spans.arrive(place, entry, seat)
        except StoreUnavailable:
            self._seats.give_back(place, entry, for_good, 0.0)
            raise


def _cut(label: str | None) -> str | None:
    return label[: wire.MAX_LABEL_CHARS] if label else None
