"""The embedded room store: the rooms of one process, which nothing outlives."""

from __future__ import annotations

import heapq
from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from zope.interface import implementer

from twisted_relay.core.errors import Code, RelayError
from twisted_relay.core.limits import AddressBuckets
from twisted_relay.core.settings import RoomLimits
from twisted_relay.engine.interfaces import Entry, IRoomStore, QrToken, Seat, StoreStatus

#: How often what has expired is dropped, seconds. What has expired is dead before it is dropped.
_SWEEP = 1.0
#: Generations remembered for members who are away, for each room; the oldest go first.
_MOST_GENERATIONS = 4096
#: Seconds for which a spent token is remembered beyond its expiry (wire protocol, "Join tokens").
_REPLAY_MARGIN = 5.0


class _Room:
    __slots__ = ("epoch", "expires", "generations", "label_numbers", "number", "qr", "seats")

    def __init__(self) -> None:
        self.seats: dict[str, int] = {}
        #: The n of each member whose label is ``P<n>``.
        self.label_numbers: dict[str, int] = {}
        self.generations: dict[str, int] = {}
        self.epoch = 0
        self.number = 0
        self.qr: QrToken | None = None
        self.expires = 0.0


@implementer(IRoomStore)
class MemoryStore:
    """`IRoomStore` in this process's memory. Every method is atomic as it never waits.

    Args:
        clock: an `IReactorTime`; all times to live are counted on it.
        now_ms: Unix time in milliseconds, as tokens carry it.
        limits: capacity, times to live, creations for each address.
        refuse_replays: False lets a token serve again (FEATURE_TOKEN_REPLAY_PROTECTION).
        limit_creations: False counts no address's rooms (FEATURE_IP_TRACKING).
    """

    def __init__(
        self,
        clock: IReactorTime,
        now_ms: Callable[[], int],
        limits: RoomLimits,
        refuse_replays: bool = True,
        limit_creations: bool = True,
    ) -> None:
        self._clock = clock
        self._now_ms = now_ms
        self._limits = limits
        self._refuse_replays = refuse_replays
        self._limit_creations = limit_creations
        self._rooms: dict[str, _Room] = {}
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

    def status(self) -> StoreStatus:
        return StoreStatus("embedded", True, None, "The embedded room store is in use.")

    async def create(
        self, room_id: str, address_key: str, entry: Entry | None, qr: QrToken | None
    ) -> Seat | None:
        if self._limit_creations:
            wait = self._creations.spend(address_key, self._clock.seconds())
            if wait is not None:
                raise RelayError(Code.RATE_LIMITED, retry_after_ms=int(wait * 1000) + 1)
        room = self._rooms[room_id] = _Room()
        room.qr = qr
        self._keep(room, self._limits.key_ttl_ms)
        return None if entry is None else self._seat(room, entry)

    async def join(self, room_id: str, entry: Entry) -> Seat:
        if entry.token_id is not None and self._is_forgotten(entry.token_expires_ms):
            raise RelayError(Code.TOKEN_EXPIRED)
        room = self._live(room_id)
        if self._refuse_replays and self._is_replay(room_id, room, entry):
            raise RelayError(Code.TOKEN_REPLAY)
        if room is None:
            raise RelayError(Code.NO_ROOM)
        if entry.member_id not in room.seats and (len(room.seats) >= self._limits.max_participants):
            raise RelayError(Code.ROOM_FULL)
        if entry.token_id is not None:
            self._spend(room_id, entry.token_id, entry.token_expires_ms)
        return self._seat(room, entry)

    async def leave(self, room_id: str, member_id: str, epoch: int, for_good: bool) -> int | None:
        room = self._live(room_id)
        if room is None or room.seats.get(member_id) != epoch:
            return None
        del room.seats[member_id]
        room.label_numbers.pop(member_id, None)
        if not room.seats:
            if for_good or not self._limits.empty_grace_ms:
                del self._rooms[room_id]
            else:
                self._keep(room, self._limits.empty_grace_ms)
        return len(room.seats)

    async def renew(self, room_id: str) -> None:
        room = self._live(room_id)
        if room is not None and room.seats:
            self._keep(room, self._limits.key_ttl_ms)

    async def exists(self, room_id: str) -> bool:
        return self._live(room_id) is not None

    async def rotate_qr(self, room_id: str, fresh: QrToken, stale_id: str) -> QrToken:
        room = self._live(room_id)
        if room is None:
            raise RelayError(Code.NO_ROOM)
        shown = room.qr
        if shown is None or shown.id == stale_id or shown.expires_ms <= self._now_ms():
            room.qr = shown = fresh
        return shown

    def _live(self, room_id: str) -> _Room | None:
        room = self._rooms.get(room_id)
        if room is not None and room.expires <= self._clock.seconds():
            del self._rooms[room_id]
            return None
        return room

    def _keep(self, room: _Room, ttl_ms: int) -> None:
        room.expires = self._clock.seconds() + ttl_ms / 1000

    def _is_replay(self, room_id: str, room: _Room | None, entry: Entry) -> bool:
        if entry.token_id is not None:
            return (room_id, entry.token_id) in self._spent
        # A generation serves until a later one has been used.
        known = room.generations.get(entry.member_id, 0) if room is not None else 0
        return entry.generation is not None and entry.generation < known

    def _is_forgotten(self, token_expires_ms: int) -> bool:
        """Whether a token may have been spent without the store remembering it."""
        return self._now_ms() >= token_expires_ms + _REPLAY_MARGIN * 1000

    def _spend(self, room_id: str, token_id: str, expires_ms: int) -> None:
        ttl = (expires_ms - self._now_ms()) / 1000 + _REPLAY_MARGIN
        self._spent.add((room_id, token_id))
        heapq.heappush(
            self._spent_until, (self._clock.seconds() + max(0.0, ttl), (room_id, token_id))
        )

    def _seat(self, room: _Room, entry: Entry) -> Seat:
        room.epoch += 1
        room.seats[entry.member_id] = room.epoch
        room.label_numbers.pop(entry.member_id, None)
        if entry.generation is None:
            room.number += 1
            while room.number in room.label_numbers.values():
                room.number += 1
        if entry.label_number:
            room.label_numbers[entry.member_id] = entry.label_number
        room.generations.pop(entry.member_id, None)
        room.generations[entry.member_id] = entry.generation or 0
        if len(room.generations) > _MOST_GENERATIONS:
            away = next((m for m in room.generations if m not in room.seats), None)
            room.generations.pop(away or "", None)
        self._keep(room, self._limits.key_ttl_ms)
        spent = room.qr is not None and room.qr.id == entry.token_id
        if spent:
            # Whoever rotates next shows a fresh one, even if the one who spent it never does.
            room.qr = None
        return Seat(room.epoch, room.number, len(room.seats), spent)

    def _sweep(self) -> None:
        now = self._clock.seconds()
        for room_id in [id for id, room in self._rooms.items() if room.expires <= now]:
            del self._rooms[room_id]
        while self._spent_until and self._spent_until[0][0] <= now:
            self._spent.discard(heapq.heappop(self._spent_until)[1])
