"""The embedded room store: the rooms of one process, which nothing outlives."""

from __future__ import annotations

import heapq
from collections.abc import Callable

import attrs
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from zope.interface import implementer

from twisted_relay.core.errors import Code, RelayError
from twisted_relay.core.limits import AddressBuckets
from twisted_relay.core.settings import RoomLimits
from twisted_relay.engine.interfaces import (
    LEASE_SECONDS,
    Entry,
    IRoomStore,
    QrToken,
    Registered,
    Registration,
    Seat,
    Standing,
    StoreStatus,
)
from twisted_relay.engine.memory_room import Room

#: How often what has expired is dropped, seconds. What has expired is dead before it is dropped.
_SWEEP = 1.0
#: Seconds for which a spent token is remembered beyond its expiry (wire protocol, "Join tokens").
_REPLAY_MARGIN = 5.0


@implementer(IRoomStore)
class MemoryStore:
    """`IRoomStore` in this process's memory. Every method is atomic as it never waits.

    Args:
        clock: an `IReactorTime`; all times to live are counted on it.
        now_ms: Unix time in milliseconds, as tokens carry it.
        limits: capacity, times to live, creations for each address.
        refuse_replays: False lets a token serve again (FEATURE_TOKEN_REPLAY_PROTECTION).
        limit_creations: False counts no address's rooms (FEATURE_IP_TRACKING).
        reaps: whether lapsed leases are dropped in this step. Never, unless told otherwise: there
            is no other instance that could have died.
        lease_ms: milliseconds after which a lease that was not renewed has lapsed.
    """

    #: What was asked has happened when the answer comes.
    settles_after = 0.0

    def __init__(
        self,
        clock: IReactorTime,
        now_ms: Callable[[], int],
        limits: RoomLimits,
        refuse_replays: bool = True,
        limit_creations: bool = True,
        reaps: Callable[[], bool] = lambda: False,
        lease_ms: int = round(LEASE_SECONDS * 1000),
    ) -> None:
        self._clock = clock
        self._now_ms = now_ms
        self._limits = limits
        self._refuse_replays = refuse_replays
        self._limit_creations = limit_creations
        self._reaps = reaps
        self._lease = lease_ms / 1000
        self._rooms: dict[str, Room] = {}
        self._spent: set[tuple[str, str]] = set()
        self._spent_until: list[tuple[float, tuple[str, str]]] = []
        self._creations = AddressBuckets(limits.max_creates_per_ip_per_min)
        self._sweeping = LoopingCall(self._sweep)
        self._sweeping.clock = clock

    def __len__(self) -> int:
        return len(self._rooms)

    def start(self) -> None:
        self._sweeping.start(_SWEEP, now=False).addErrback(
            lambda failure: Logger().failure("the sweep of the room store ended", failure)
        )

    async def stop(self) -> None:
        if self._sweeping.running:
            self._sweeping.stop()

    def change(self, limits: RoomLimits) -> None:
        self._limits = limits
        self._creations.change(limits.max_creates_per_ip_per_min)

    def status(self) -> StoreStatus:
        return StoreStatus("embedded", True, None, "The embedded room store is in use.")

    async def create(
        self, room_id: str, address_key: str, entry: Entry | None, qr: QrToken | None
    ) -> Seat | None:
        if self._limit_creations:
            wait = self._creations.spend(address_key, self._clock.seconds())
            if wait is not None:
                raise RelayError(Code.RATE_LIMITED, retry_after_ms=int(wait * 1000) + 1)
        room = self._rooms[room_id] = Room()
        room.qr = qr
        self._keep(room)
        return None if entry is None else self._seat(room, entry, False)

    async def join(self, room_id: str, entry: Entry) -> Seat:
        if entry.token_id is not None and self._is_forgotten(entry.token_expires_ms):
            raise RelayError(Code.TOKEN_EXPIRED)
        room, reaped = self._step(room_id)
        if self._refuse_replays and self._is_replay(room_id, room, entry):
            raise RelayError(Code.TOKEN_REPLAY)
        if room is None:
            raise RelayError(Code.NO_ROOM)
        if entry.member_id not in room.seats and (len(room.seats) >= self._limits.max_participants):
            raise RelayError(Code.ROOM_FULL)
        if entry.token_id is not None:
            self._spend(room_id, entry.token_id, entry.token_expires_ms)
        return self._seat(room, entry, reaped)

    async def leave(
        self, room_id: str, member_id: str, hold: str, for_good: bool, token_id: str | None = None
    ) -> Standing | None:
        room, reaped = self._step(room_id)
        if room is None or not room.leave(member_id, hold):
            return None
        if token_id is not None:
            self._spent.discard((room_id, token_id))
        if not room.seats:
            if for_good:
                del self._rooms[room_id]
            else:
                self._leave_empty(room_id, room, self._clock.seconds())
        return room.standing(reaped)

    async def renew(self, room_id: str, lease: str) -> Standing | None:
        room, reaped = self._step(room_id)
        if room is None or not room.renew(lease, self._lapses()):
            return None
        self._keep(room)
        return attrs.evolve(room.standing(reaped), held=room.held_under(lease))

    async def register(self, room_id: str, registration: Registration) -> Registered:
        for token_id, expires_ms in registration.spent:
            if not self._is_forgotten(expires_ms):
                self._spend(room_id, token_id, expires_ms)
        found, reaped = self._step(room_id)
        room = found or Room()
        had_members = bool(room.seats)
        replaced, crowded_out = room.register(
            registration, self._limits.max_participants, self._lapses()
        )
        if found is None and not room.seats:
            standing = Standing(registration.revision, 0, frozenset(), reaped)
            return Registered(standing, replaced, crowded_out)
        self._show_unspent(room_id, room, registration.qr)
        if room.seats:
            self._rooms[room_id] = room
            self._keep(room)
        elif had_members:
            self._leave_empty(room_id, room, self._clock.seconds())
        return Registered(room.standing(reaped), replaced, crowded_out, made_anew=found is None)

    async def exists(self, room_id: str) -> bool:
        return self._step(room_id)[0] is not None

    async def rotate_qr(self, room_id: str, fresh: QrToken, stale_id: str) -> QrToken:
        room, _ = self._step(room_id)
        if room is None:
            raise RelayError(Code.NO_ROOM)
        shown = room.qr
        if shown is None or shown.id == stale_id or shown.expires_ms <= self._now_ms():
            room.qr = shown = fresh
        return shown

    def _step(self, room_id: str) -> tuple[Room | None, bool]:
        """The room as it is now, and whether this has just dropped lapsed leases."""
        room = self._live(room_id)
        if room is None or not self._reaps():
            return room, False
        lapsed = room.reap(self._clock.seconds())
        if lapsed is None:
            return room, False
        if not room.seats:
            # It has been empty since then, though nobody looked.
            self._leave_empty(room_id, room, lapsed)
            room = self._live(room_id)
        return room, True

    def _live(self, room_id: str) -> Room | None:
        room = self._rooms.get(room_id)
        if room is not None and room.expires <= self._clock.seconds():
            del self._rooms[room_id]
            return None
        return room

    def _keep(self, room: Room) -> None:
        room.expires = self._clock.seconds() + self._limits.key_ttl_ms / 1000

    def _lapses(self) -> float:
        """When a lease lapses that is renewed now."""
        return self._clock.seconds() + self._lease

    def _leave_empty(self, room_id: str, room: Room, since: float) -> None:
        """The room waits for somebody to come back, if there is a grace time."""
        if self._limits.empty_grace_ms:
            room.expires = since + self._limits.empty_grace_ms / 1000
        else:
            del self._rooms[room_id]

    def _is_replay(self, room_id: str, room: Room | None, entry: Entry) -> bool:
        if entry.token_id is not None:
            return (room_id, entry.token_id) in self._spent
        # A generation serves until a later one has been used.
        known = room.generation(entry.member_id) if room is not None else 0
        return entry.generation is not None and entry.generation < known

    def _is_forgotten(self, token_expires_ms: int) -> bool:
        """Whether a token may have been spent without the store remembering it."""
        return self._now_ms() >= token_expires_ms + _REPLAY_MARGIN * 1000

    def _spend(self, room_id: str, token_id: str, expires_ms: int) -> None:
        spent = (room_id, token_id)
        if spent not in self._spent:
            ttl = (expires_ms - self._now_ms()) / 1000 + _REPLAY_MARGIN
            self._spent.add(spent)
            heapq.heappush(self._spent_until, (self._clock.seconds() + max(0.0, ttl), spent))

    def _show_unspent(self, room_id: str, room: Room, qr: QrToken | None) -> None:
        """Show this QR token if there is none, and none that is known to be spent."""
        if room.qr is None:
            room.qr = qr
        if room.qr is not None and (room_id, room.qr.id) in self._spent:
            room.qr = None

    def _seat(self, room: Room, entry: Entry, reaped: bool) -> Seat:
        first, taken_from = room.seat(entry, self._lapses())
        self._keep(room)
        qr_spent = room.qr is not None and room.qr.id == entry.token_id
        if qr_spent:
            # Whoever rotates next shows a fresh one, even if the one who spent it never does.
            room.qr = None
        return Seat(room.number, room.standing(reaped), qr_spent, first, taken_from)

    def _sweep(self) -> None:
        now = self._clock.seconds()
        for room_id in [id for id, room in self._rooms.items() if room.expires <= now]:
            del self._rooms[room_id]
        while self._spent_until and self._spent_until[0][0] <= now:
            self._spent.discard(heapq.heappop(self._spent_until)[1])
