"""Coming, going and coming back: the awaited part of the relay.

The store decides who has a seat; what is decided is then made true here, and told to those whom
it concerns. Between the question and the answer the client may have gone: a seat that is given to
nobody is handed back at once.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from twisted_relay.core import wire
from twisted_relay.core.errors import Code, RelayError
from twisted_relay.core.rooms import Rooms
from twisted_relay.engine.client import Client, LocalRoom, Seated
from twisted_relay.engine.departures import Departures
from twisted_relay.engine.fanout import Fanout
from twisted_relay.engine.interfaces import Entry, IRoomStore, Seat, StoreUnavailable
from twisted_relay.engine.issuer import Issuer
from twisted_relay.engine.metrics import Metrics
from twisted_relay.engine.notices import Notices
from twisted_relay.engine.upkeep import Upkeep

_AUTOMATIC_LABEL = re.compile(r"P([1-9][0-9]{0,8})")


class Membership:
    """Carries out creates, joins, leaves and drops.

    Args:
        replaced: called with a client whose seat was taken back by another connection.
        broken: called with the failure of what nobody waits for, and what it was about.
    """

    def __init__(
        self,
        store: IRoomStore,
        rooms: Rooms[Client],
        issuer: Issuer,
        fanout: Fanout,
        notices: Notices,
        upkeep: Upkeep,
        departures: Departures,
        metrics: Metrics,
        replaced: Callable[[Client], None],
        broken: Callable[[Failure, str], None],
    ) -> None:
        self._store = store
        self._rooms = rooms
        self._issuer = issuer
        self._fanout = fanout
        self._notices = notices
        self._upkeep = upkeep
        self._departures = departures
        self._metrics = metrics
        self._replaced = replaced
        self._broken = broken

    async def create(self, client: Client, frame: wire.RoomCreate) -> None:
        """ROOM_CREATE. Raises RelayError or StoreUnavailable, and then nothing has changed."""
        room_id, qr = self._issuer.random_id(), self._issuer.fresh_qr()
        entry = Entry(self._issuer.random_id(), label_number=_number_of(frame.body.label))
        seat = await self._store.create(room_id, client.connection.address_key, entry, qr)
        if seat is None:
            raise StoreUnavailable
        member = self._enter(client, room_id, entry, seat, _cut(frame.body.label))
        if member is None:
            return
        self._upkeep.shows_qr(member.room, qr)
        self._notices.created(
            member,
            self._issuer.qr_token(room_id, qr),
            self._issuer.next_token(member),
            frame.id,
        )
        self._notices.stats(member.room)

    async def join(self, client: Client, frame: wire.JoinRequest) -> None:
        """JOIN_REQUEST. Raises RelayError or StoreUnavailable, and then nothing has changed."""
        body = frame.body
        claims = self._issuer.verify(body.qrToken or body.token or "", body.roomId)
        comes_back = claims.mid is not None
        label = _cut(body.label) or claims.lbl
        entry = Entry(
            member_id=claims.mid or self._issuer.random_id(),
            token_id=None if comes_back else claims.jti,
            token_expires_ms=claims.exp,
            generation=claims.gen if comes_back else None,
            label_number=_number_of(label),
        )
        seat = await self._store.join(body.roomId, entry)
        member = self._enter(client, body.roomId, entry, seat, label)
        if member is None:
            return
        room = member.room
        self._notices.joined(member, self._issuer.next_token(member), comes_back, frame.id)
        if not comes_back:
            self._notices.has_entered(member)
        self._notices.stats(room)
        if seat.qr_spent or not room.qr_id:
            self._upkeep.rotate_qr(room, claims.jti if seat.qr_spent else "")

    async def leave(self, client: Client, frame: wire.Leave) -> None:
        """LEAVE: answered once the store knows, or cannot be told for now."""
        member = client.member
        if member is None:
            raise RelayError(Code.NOT_IN_ROOM)
        await self._give_up(member, for_good=True)
        if not client.session.is_closed:
            client.session.left()
            self._notices.left(client, member.room.id, frame.id)

    def drop(self, client: Client) -> None:
        """The connection is gone: so is its seat, unless another connection has it by now."""
        if client.member is not None:
            Deferred.fromCoroutine(self._give_up(client.member, for_good=False)).addErrback(
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

    def _enter(
        self, client: Client, room_id: str, entry: Entry, seat: Seat, label: str | None
    ) -> Seated | None:
        here = self._rooms.get(room_id)
        if here is not None:
            # What was said before belongs to those who were there.
            self._fanout.flush(here)
        if client.session.is_closed:
            self._hand_back(here, room_id, entry, seat)
            return None
        member, ghost = self._rooms.enter(
            room_id,
            entry.member_id,
            label or f"P{seat.number}",
            seat.epoch,
            entry.generation or 0,
            client,
        )
        member.room.participants = seat.participants
        client.member = member
        client.session.joined(room_id)
        self._upkeep.seated(member)
        self._count_seats(+1)
        if ghost is not None:
            self._replace(ghost)
        return member

    def _replace(self, ghost: Seated) -> None:
        """The store gave this seat to another connection: there is nothing to give back."""
        self._unseat(ghost)
        self._replaced(ghost.client)

    def _hand_back(self, here: LocalRoom | None, room_id: str, entry: Entry, seat: Seat) -> None:
        """The client went while its join was decided: the seat goes back, the token stays spent."""
        ghost = here.members.get(entry.member_id) if here is not None else None
        if ghost is not None:
            self._replace(ghost)
        label = None if ghost is None else ghost.label
        Deferred.fromCoroutine(
            self._return_seat(room_id, entry.member_id, seat.epoch, False, label)
        ).addErrback(self._broken, "LEAVE")
        if seat.qr_spent and here is not None and here in self._rooms:
            self._upkeep.rotate_qr(here, entry.token_id or "")

    def _unseat(self, member: Seated) -> None:
        member.client.member = None
        self._rooms.remove(member)
        self._upkeep.unseated(member)
        self._count_seats(-1)

    def _count_seats(self, change: int) -> None:
        self._metrics.members_active += change
        self._metrics.rooms_active = len(self._rooms)

    async def _give_up(self, member: Seated, for_good: bool) -> None:
        self._fanout.flush(member.room)
        # Letting the queue go may have cut this very member off, and then it is gone already.
        if member.client.member is member:
            self._unseat(member)
            await self._return_seat(member.room.id, member.id, member.epoch, for_good, member.label)

    async def _return_seat(
        self, room_id: str, member_id: str, epoch: int, for_good: bool, label: str | None
    ) -> None:
        """Tell the store, then the members left. No label: nobody was told that it came."""
        try:
            left = await self._departures.add(
                room_id, member_id, epoch, for_good, self._counted_late
            )
        except StoreUnavailable:
            self._left_unwritten(room_id, label)
            return
        if left is not None:
            self._left(room_id, label, left)

    def _left_unwritten(self, room_id: str, label: str | None) -> None:
        room = self._rooms.get(room_id)
        if room is not None and label is not None:
            # The store still counts the one who went; `_counted_late` will say when it does not.
            self._left(room_id, label, max(room.participants - 1, len(room.members)))

    def _counted_late(self, room_id: str, left: int) -> None:
        self._left(room_id, None, left)

    def _left(self, room_id: str, label: str | None, left: int) -> None:
        room = self._rooms.get(room_id)
        if room is None or (label is None and room.participants == left):
            return
        room.participants = left
        if label is not None:
            self._notices.has_left(room, label)
        self._notices.stats(room)


def _cut(label: str | None) -> str | None:
    return label[: wire.MAX_LABEL_CHARS] if label else None


def _number_of(label: str | None) -> int:
    match = _AUTOMATIC_LABEL.fullmatch(label or "")
    return int(match[1]) if match else 0
