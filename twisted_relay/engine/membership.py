"""Coming, going and coming back: the awaited part of the relay.

The store decides who has a seat; what is decided is then made true here, and told to those whom
it concerns. Between the question and the answer the client may have gone: a seat that is given to
nobody is handed back at once.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_relay.core import wire
from twisted_relay.core.errors import Code, RelayError
from twisted_relay.core.rooms import Rooms
from twisted_relay.core.settings import RoomLimits
from twisted_relay.core.tokens import Claims, TokenSigner
from twisted_relay.engine.client import Client, LocalRoom, Seated
from twisted_relay.engine.deadlines import Deadlines
from twisted_relay.engine.departures import Departures
from twisted_relay.engine.fanout import Fanout
from twisted_relay.engine.interfaces import (
    Entry,
    IRoomStore,
    QrToken,
    Seat,
    StoreUnavailable,
)from twisted_relay.engine.metrics import Metrics

#: How long a token from GET /rooms/ID/token serves, milliseconds.
HTTP_TOKEN_TTL_MS = 60_000
#: The part of a nextToken's life after which its successor is sent.
_REFRESH_AT = 0.8
#: A room's time is renewed this often within it, but not more than once in a few seconds.
_RENEWALS_PER_TTL = 4
_SHORTEST_RENEWAL = 5.0

_AUTOMATIC_LABEL = re.compile(r"P([1-9][0-9]{0,3})")


@attrs.frozen
class World:
    """What membership needs from outside: time, randomness and ids.

    Attributes:
        clock: an `IReactorTime`, for what is due when.
        now_ms: Unix time in milliseconds, for what clients are told.
        frame_id: a new id for a frame of our own.
    """

    clock: IReactorTime
    now_ms: Callable[[], int]
    frame_id: Callable[[], str]


class Membership:
    """Carries out creates, joins, leaves and drops, and keeps the rooms of this process alive.

    Args:
        replaced: called with a client whose seat was taken back by another connection.
        broken: called with the failure of anything that goes on by itself.
    """

    def __init__(
        self, world: World, limits: RoomLimits, next_token_ttl_ms: int, signer: TokenSigner,
        store: IRoomStore, rooms: Rooms[Client], fanout: Fanout, metrics: Metrics,
        replaced: Callable[[Client], None], broken: Callable[[Failure, str], None],
    ) -> None:
        self._world = world
        self._limits = limits
        self._next_token_ttl_ms = next_token_ttl_ms
        self._signer = signer
        self._store = store
        self._rooms = rooms
        self._fanout = fanout
        self._metrics = metrics
        self._replaced = replaced
        self._broken = broken
        self.departures = Departures(world.clock, store)
        clock = world.clock
        renewal = max(_SHORTEST_RENEWAL, limits.key_ttl_ms / 1000 / _RENEWALS_PER_TTL)
        self._qr_due: Deadlines[LocalRoom] = Deadlines(
            clock, limits.qr_rotation_ms / 1000, self._rotate_on_time)
        self._renewal_due: Deadlines[LocalRoom] = Deadlines(
            clock, min(renewal, limits.key_ttl_ms / 2000), self._renew_on_time)
        self._token_due: Deadlines[Seated] = Deadlines(
            clock, next_token_ttl_ms / 1000 * _REFRESH_AT, self._refresh_token)

    def stop(self) -> None:
        """Nothing goes on by itself any more."""
        for deadlines in (self._qr_due, self._renewal_due, self._token_due):
            deadlines.stop()
        self.departures.stop()

    async def create(self, client: Client, frame: wire.RoomCreate) -> None:
        """ROOM_CREATE. Raises RelayError or StoreUnavailable, and then nothing has changed."""
        room_id, qr = self._signer.random_id(), self._fresh_qr()
        entry = Entry(self._signer.random_id(), label_number=_number_of(frame.body.label))
        seat = await self._store.create(room_id, client.connection.address_key, entry, qr)
        if seat is None:
            raise StoreUnavailable
        member = self._enter(client, room_id, entry, seat, _cut(frame.body.label))
        if member is None:
            return
        member.room.qr_id = qr.id
        self._qr_due.add(member.room)
        self._fanout.send(client, "ROOM_CREATED", self._frame("ROOM_CREATED", {
            "roomId": room_id, "qrToken": self._signer.sign(Claims(room_id, qr.expires_ms, qr.id)),
            "qrExpUnixMs": qr.expires_ms, "maxParticipants": self._limits.max_participants,
            "memberId": member.id, "label": member.label, **self._next_token(member),
        }, frame.id))
        self._post_stats(member.room)

    async def join(self, client: Client, frame: wire.JoinRequest) -> None:
        """JOIN_REQUEST. Raises RelayError or StoreUnavailable, and then nothing has changed."""
        body = frame.body
        room_id = body.roomId
        claims = self._signer.verify(
            body.qrToken or body.token or "", room_id, self._world.now_ms())
        comes_back = claims.mid is not None
        entry = Entry(
            member_id=claims.mid or self._signer.random_id(),
            token_id=None if comes_back else claims.jti, token_expires_ms=claims.exp,
            generation=claims.gen if comes_back else None, label_number=_number_of(body.label))
        seat = await self._store.join(room_id, entry)
        member = self._enter(client, room_id, entry, seat, _cut(body.label) or claims.lbl)
        if member is None:
            return
        self._fanout.send(client, "JOINED", self._frame("JOINED", {
            "roomId": room_id, "participants": seat.participants,
            "max": self._limits.max_participants, "label": member.label, "memberId": member.id,
            "resumed": comes_back, **self._next_token(member),
        }, frame.id))
        if not comes_back:
            self._post_system(
                member.room, f"this person has entered the chat with the name {member.label}")
        self._post_stats(member.room)
        if seat.qr_spent or not member.room.qr_id:
            # Not awaited: the joiner's next frames need not wait for it.
            self._rotate_soon(member.room, claims.jti if seat.qr_spent else "")

    async def leave(self, client: Client, frame: wire.Leave) -> None:
        """LEAVE: answered once the store knows, or cannot be told for now."""
        member = client.member
        if member is None:
            raise RelayError(Code.NOT_IN_ROOM)
        await self._give_up(member, for_good=True)
        if not client.session.is_closed:
            client.session.left()
            self._fanout.send(client, "LEFT", self._frame(
                "LEFT", {"roomId": member.room.id}, frame.id))

    def drop(self, client: Client) -> None:
        """The connection is gone: so is its seat, unless another connection has it by now."""
        member = client.member
        if member is not None:
            Deferred.fromCoroutine(self._give_up(member, for_good=False)).addErrback(
                self._broken, "LEAVE")

    async def create_empty(self, address_key: str) -> str:
        """A room that waits for its first member; its id."""
        room_id = self._signer.random_id()
        await self._store.create(room_id, address_key, None, None)
        return room_id

    async def room_token(self, room_id: str) -> tuple[str, int]:
        """A join token for a room, and when it expires, Unix milliseconds.

        Raises RelayError(NO_ROOM) or StoreUnavailable.
        """
        if not await self._store.exists(room_id):
            raise RelayError(Code.NO_ROOM)
        expires_ms = self._world.now_ms() + HTTP_TOKEN_TTL_MS
        return self._signer.sign(
            Claims(room_id, expires_ms, self._signer.random_id())), expires_ms

    def _enter(
        self, client: Client, room_id: str, entry: Entry, seat: Seat, label: str | None
    ) -> Seated | None:
        here = self._rooms.get(room_id)
        if here is not None:
            self._fanout.flush(here)
        if client.session.is_closed:
            self._hand_back(here, room_id, entry, seat)
            return None
        member, ghost = self._rooms.enter(
            room_id, entry.member_id, label or f"P{seat.number}", seat.epoch,
            entry.generation or 0, client)
        member.room.participants = seat.participants
        client.member = member
        client.session.joined(room_id)
        self._count_seats(+1)
        self._token_due.add(member)
        if here is None:
            self._renewal_due.add(member.room)
        if ghost is not None:
            # Its seat is the new member's by now: there is nothing to give back.
            self._unseat(ghost)
            self._metrics.members_active -= 1
            self._replaced(ghost.client)
        return member

    def _hand_back(
        self, here: LocalRoom | None, room_id: str, entry: Entry, seat: Seat
    ) -> None:
        """The client went while its join was decided: the seat goes back, the token stays spent."""
        ghost = here.members.get(entry.member_id) if here is not None else None
        if ghost is not None:
            # The store took the seat from it all the same, so it must not go on as a member.
            self._unseat(ghost)
            self._replaced(ghost.client)
        Deferred.fromCoroutine(
            self._return_seat(room_id, entry.member_id, seat.epoch, False, ghost and ghost.label)
        ).addErrback(self._broken, "LEAVE")
        if here is not None and seat.qr_spent and here in self._rooms:
            self._rotate_soon(here, entry.token_id or "")

    def _unseat(self, member: Seated) -> bool:
        room = member.room
        self._token_due.cancel(member)
        member.client.member = None
        removed = self._rooms.remove(member)
        self._count_seats(-removed)
        if removed and not room.members:
            self._qr_due.cancel(room)
            self._renewal_due.cancel(room)
        return removed

    def _count_seats(self, change: int) -> None:
        self._metrics.members_active += change
        self._metrics.rooms_active = len(self._rooms)

    async def _give_up(self, member: Seated, for_good: bool) -> None:
        self._fanout.flush(member.room)
        if self._unseat(member):
            await self._return_seat(
                member.room.id, member.id, member.epoch, for_good, member.label)

    async def _return_seat(
        self, room_id: str, member_id: str, epoch: int, for_good: bool, label: str | None
    ) -> None:
        """Tell the store, then the members left. No label: nobody was told that it came."""
        left: int | None = None
        known = True
        try:
            left = await self.departures.add(room_id, member_id, epoch, for_good)
        except StoreUnavailable:
            known = False
        room = self._rooms.get(room_id)
        if room is None or label is None or (known and left is None):
            return
        room.participants = len(room.members) if left is None else left
        self._post_system(room, f"{label} has left the chat")
        self._post_stats(room)

    def _next_token(self, member: Seated) -> dict[str, Any]:
        member.generation += 1
        expires_ms = self._world.now_ms() + self._next_token_ttl_ms
        token = self._signer.sign(Claims(
            member.room.id, expires_ms, self._signer.random_id(), member.id, member.generation,
            member.label))
        return {"nextToken": token, "nextTokenExpUnixMs": expires_ms}

    def _refresh_token(self, member: Seated) -> None:
        self._token_due.add(member)
        self._fanout.send(member.client, "TOKEN", self._frame(
            "TOKEN", {"roomId": member.room.id, **self._next_token(member)}))

    def _fresh_qr(self) -> QrToken:
        return QrToken(
            self._signer.random_id(), self._world.now_ms() + self._limits.qr_rotation_ms)

    async def _rotate_qr(self, room: LocalRoom, stale_id: str) -> None:
        self._qr_due.add(room)
        try:
            shown = await self._store.rotate_qr(room.id, self._fresh_qr(), stale_id)
        except (StoreUnavailable, RelayError):
            return  # the next turn of the rotation asks again
        if room not in self._rooms:
            self._qr_due.cancel(room)
            return
        room.qr_id = shown.id
        self._fanout.post(room, "QR_ROTATED", self._frame("QR_ROTATED", {
            "roomId": room.id, "qrExpUnixMs": shown.expires_ms,
            "qrToken": self._signer.sign(Claims(room.id, shown.expires_ms, shown.id))}))

    def _rotate_on_time(self, room: LocalRoom) -> None:
        self._rotate_soon(room, room.qr_id)

    def _rotate_soon(self, room: LocalRoom, stale_id: str) -> None:
        Deferred.fromCoroutine(self._rotate_qr(room, stale_id)).addErrback(
            self._broken, "QR_ROTATED")

    def _renew_on_time(self, room: LocalRoom) -> None:
        self._renewal_due.add(room)
        Deferred.fromCoroutine(self._renew(room)).addErrback(self._broken, "ROOM_STATS")

    async def _renew(self, room: LocalRoom) -> None:
        try:
            await self._store.renew(room.id)
        except StoreUnavailable:
            Logger().debug("a room's renewal has to wait for the store", event="renewal_delayed")

    def _post_stats(self, room: LocalRoom) -> None:
        self._fanout.post(room, "ROOM_STATS", self._frame("ROOM_STATS", {
            "roomId": room.id, "participants": room.participants,
            "max": self._limits.max_participants}))

    def _post_system(self, room: LocalRoom, text: str) -> None:
        self._fanout.post(room, "SYSTEM_MSG", self._frame(
            "SYSTEM_MSG", {"roomId": room.id, "text": text, "type": "info"}))

    def _frame(self, kind: str, body: dict[str, Any], re: str | None = None) -> bytes:
        return wire.encode(kind, self._world.frame_id(), body, re)


def _cut(label: str | None) -> str | None:
    return label[: wire.MAX_LABEL_CHARS] if label else None


def _number_of(label: str | None) -> int:
    match = _AUTOMATIC_LABEL.fullmatch(label or "")
    return int(match[1]) if match else 0
