"""Seats on their way back to the store: in order, and again until the store has heard."""

from __future__ import annotations

import collections
from collections.abc import Awaitable, Callable

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from twisted_relay.engine.interfaces import (
    IRoomStore,
    Standing,
    StoreRefused,
    StoreUnavailable,
)

#: Seconds between two attempts while the store cannot be reached.
_PAUSE = 1.0
#: Attempts at a leave that the store refuses while it takes others: the room is not whole there,
#: and it takes a registration, or its expiry, to mend that.
_MOST_REFUSALS = 5


@attrs.frozen
class _Leave:
    room_id: str
    member_id: str
    hold: str
    for_good: bool
    late: Callable[[str, Standing], None]
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
        self._working = False
        self._pause: Deferred[None] | None = None
        self._stopped = False

    def __len__(self) -> int:
        return len(self._queue) + len(self._later)

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
        leave = _Leave(room_id, member_id, hold, for_good, late)
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
    ) -> None:
        """Give back, after some time, a seat that may or may not have been given; `late` is
        called if it had been."""
        leave = _Leave(room_id, member_id, hold, for_good, late)
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

    def _enqueue(self, leave: _Leave) -> None:
        self._queue.append(leave)
        if self._pause is not None:
            if not leave.outcome.called:
                leave.outcome.errback(StoreUnavailable())
        elif not self._working:
            self._working = True
            Deferred.fromCoroutine(self._work())

    def _enqueue_later(self, seconds: float, leave: _Leave) -> None:
        def enqueue() -> None:
            self._later.discard(call)
            self._enqueue(leave)

        call = self._clock.callLater(seconds, enqueue)
        self._later.add(call)

    async def _work(self) -> None:
        try:
            while self._queue and not self._stopped:
                leave = self._queue[0]
                try:
                    left = await self._store.leave(
                        leave.room_id, leave.member_id, leave.hold, leave.for_good
                    )
                except StoreRefused:
                    self._queue.popleft()
                    self._refused(leave)
                    continue
                except StoreUnavailable:
                    await self._wait()
                    continue
                except Exception:
                    self._queue.popleft()
                    if not leave.outcome.called:
                        leave.outcome.errback(Failure())
                    continue
                self._queue.popleft()
                if not leave.outcome.called:
                    leave.outcome.callback(left)
                elif left is not None:
                    leave.late(leave.room_id, left)
        finally:
            self._working = False

    def _refused(self, leave: _Leave) -> None:
        """One room's trouble must not hold up the leaves of all the others."""
        if not leave.outcome.called:
            leave.outcome.errback(StoreUnavailable())
        if leave.refusals < _MOST_REFUSALS and not self._stopped:
            again = attrs.evolve(leave, refusals=leave.refusals + 1)
            self._enqueue_later(_PAUSE, again)

    async def _wait(self) -> None:
        self._pause = deferLater(self._clock, _PAUSE)
        self._pause.addErrback(lambda _: None)  # cancelled by stop()
        # Nobody is kept waiting for a store that is away, whoever's turn it was.
        for leave in tuple(self._queue):
            if not leave.outcome.called:
                leave.outcome.errback(StoreUnavailable())
        if self._stopped:
            self._pause.cancel()
        await self._pause
        self._pause = None
