"""Seats on their way back to the store: again and again until the store has heard."""

from __future__ import annotations

import collections
import itertools
from collections.abc import Awaitable, Callable

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from twisted_relay.engine.interfaces import (
    IRoomStore,
    Standing,
    StoreRefused,
    StoreUnavailable,
)

#: Seconds between two attempts while the store cannot be reached.
_PAUSE = 1.0
#: Leaves asked of the store at once: after a network fault thousands go in one instant.
_AT_ONCE = 64
#: Attempts at a leave that the store refuses while it takes others: the room is not whole there,
#: and it takes a registration, or its expiry, to mend that.
_MOST_REFUSALS = 5


@attrs.frozen
class _Leave:
    number: int
    room_id: str
    member_id: str
    hold: str
    for_good: bool
    late: Callable[[str, Standing], None]
    token_id: str | None = None
    outcome: Deferred[Standing | None] = attrs.field(factory=Deferred)
    refusals: int = 0


class Departures:
    """A queue of leaves that survives an absent store.

    A leave that is never written would be a ghost that takes a seat until its room expires.
    """

    def __init__(self, clock: IReactorTime, store: IRoomStore) -> None:
        self._clock = clock
        self._store = store
        self._later: set[IDelayedCall] = set()
        self._queue: collections.deque[_Leave] = collections.deque()
        self._numbers = itertools.count()
        self._under_way = 0
        self._beginning = False
        self._pause: IDelayedCall | None = None
        self._stopped = False

    def __len__(self) -> int:
        return len(self._queue) + len(self._later) + self._under_way

    def add(
        self,
        room_id: str,
        member_id: str,
        hold: str,
        for_good: bool,
        late: Callable[[str, Standing], None],
    ) -> Awaitable[Standing | None]:
        """Give a seat back; the outcome is that of `IRoomStore.leave`.

        Fails with `StoreUnavailable` as soon as the store is found to be away; the attempts go on
        behind it, and when the seat is given back after all, `late` is called with the room's id
        and how it stands then.
        """
        leave = _Leave(next(self._numbers), room_id, member_id, hold, for_good, late)
        self._enqueue(leave)
        return leave.outcome

    def add_later(
        self,
        seconds: float,
        room_id: str,
        member_id: str,
        hold: str,
        for_good: bool,
        late: Callable[[str, Standing], None],
        token_id: str | None,
    ) -> None:
        """Give back, after some time, a seat in which nobody ever sat, and which may or may not
        have been given, with the token spent for it; `late` is called if it had been."""
        leave = _Leave(next(self._numbers), room_id, member_id, hold, for_good, late, token_id)
        leave.outcome.callback(None)
        self._enqueue_later(seconds, leave)

    def stop(self) -> None:
        """Try no more."""
        self._stopped = True
        for call in self._later:
            call.cancel()
        self._later.clear()
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None

    def _enqueue(self, leave: _Leave) -> None:
        self._queue.append(leave)
        if self._pause is not None:
            if not leave.outcome.called:
                leave.outcome.errback(StoreUnavailable())
        else:
            self._begin_more()

    def _enqueue_later(self, seconds: float, leave: _Leave) -> None:
        def enqueue() -> None:
            self._later.discard(call)
            self._enqueue(leave)

        call = self._clock.callLater(seconds, enqueue)
        self._later.add(call)

    def _begin_more(self) -> None:
        if self._beginning:
            # A store that answers at once comes back to here; the loop below goes on by itself.
            return
        self._beginning = True
        try:
            while self._queue and self._under_way < _AT_ONCE and not self._is_idle:
                self._under_way += 1
                Deferred.fromCoroutine(self._write(self._queue.popleft()))
        finally:
            self._beginning = False

    @property
    def _is_idle(self) -> bool:
        return self._stopped or self._pause is not None

    async def _write(self, leave: _Leave) -> None:
        try:
            standing = await self._store.leave(
                leave.room_id, leave.member_id, leave.hold, leave.for_good, leave.token_id
            )
        except StoreRefused:
            self._refused(leave)
        except StoreUnavailable:
            self._queue.append(leave)
            self._wait()
        except Exception:
            if not leave.outcome.called:
                leave.outcome.errback(Failure())
        else:
            if not leave.outcome.called:
                leave.outcome.callback(standing)
            elif standing is not None:
                leave.late(leave.room_id, standing)
        finally:
            self._under_way -= 1
            self._begin_more()

    def _refused(self, leave: _Leave) -> None:
        """One room's trouble must not hold up the leaves of all the others."""
        if not leave.outcome.called:
            leave.outcome.errback(StoreUnavailable())
        if leave.refusals < _MOST_REFUSALS and not self._stopped:
            again = attrs.evolve(leave, refusals=leave.refusals + 1)
            self._enqueue_later(_PAUSE, again)

    def _wait(self) -> None:
        """The store is away: ask again in a while, the first to go first."""
        if self._pause is None and not self._stopped:
            self._pause = self._clock.callLater(_PAUSE, self._go_on)
        # Nobody is kept waiting for a store that is away, whoever's turn it was.
        for leave in tuple(self._queue):
            if not leave.outcome.called:
                leave.outcome.errback(StoreUnavailable())

    def _go_on(self) -> None:
        self._pause = None
        self._queue = collections.deque(sorted(self._queue, key=lambda leave: leave.number))
        self._begin_more()
