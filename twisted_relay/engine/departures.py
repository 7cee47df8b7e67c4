"""Seats on their way back to the store: in order, and again until the store has heard."""

from __future__ import annotations

import collections
from collections.abc import Awaitable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from twisted_relay.engine.interfaces import IRoomStore, StoreUnavailable

#: Seconds between two attempts while the store cannot be reached.
_PAUSE = 1.0


class Departures:
    """A queue of leaves that survives an absent store.

    A leave that is never written would be a ghost that takes a seat until its room expires.
    """

    def __init__(self, clock: IReactorTime, store: IRoomStore) -> None:
        self._clock = clock
        self._store = store
        self._queue: collections.deque[tuple[str, str, int, bool, Deferred[int | None]]] = (
            collections.deque()
        )
        self._working = False
        self._pause: Deferred[None] | None = None
        self._stopped = False

    def __len__(self) -> int:
        return len(self._queue)

    def add(
        self, room_id: str, member_id: str, epoch: int, for_good: bool
    ) -> Awaitable[int | None]:
        """Give a seat back; the outcome is that of `IRoomStore.leave`.

        Fails with `StoreUnavailable` after the first vain attempt; the attempts go on behind it.
        """
        outcome: Deferred[int | None] = Deferred()
        self._queue.append((room_id, member_id, epoch, for_good, outcome))
        if not self._working:
            self._working = True
            Deferred.fromCoroutine(self._work())
        return outcome

    def stop(self) -> None:
        """Try no more."""
        self._stopped = True
        if self._pause is not None:
            self._pause.cancel()

    async def _work(self) -> None:
        try:
            while self._queue and not self._stopped:
                room_id, member_id, epoch, for_good, outcome = self._queue[0]
                try:
                    left = await self._store.leave(room_id, member_id, epoch, for_good)
                except StoreUnavailable as absent:
                    if not outcome.called:
                        outcome.errback(Failure(absent))
                    await self._wait()
                    continue
                except Exception:
                    self._queue.popleft()
                    if not outcome.called:
                        outcome.errback(Failure())
                    continue
                self._queue.popleft()
                if not outcome.called:
                    outcome.callback(left)
        finally:
            self._working = False

    async def _wait(self) -> None:
        self._pause = deferLater(self._clock, _PAUSE)
        self._pause.addErrback(lambda _: None)  # cancelled by stop()
        await self._pause
        self._pause = None
