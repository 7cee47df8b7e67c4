"""Events as an asynchronous iterator, for owners that prefer a loop to a callback."""

from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Generic, Self, TypeVar

from twisted.internet.defer import Deferred

T = TypeVar("T")


class EventStream(AsyncIterator[T], Generic[T]):
    """What was put in comes out in order; the iteration ends after an event that ``is_last``.

    For one loop: two that take from it share the events.
    """

    def __init__(self, is_last: Callable[[T], bool]) -> None:
        self._is_last = is_last
        self._events: deque[T] = deque()
        self._ended = False
        self._waiting: deque[Deferred[None]] = deque()

    def put(self, event: T) -> None:
        """Add an event; what comes after the last one is dropped."""
        if self._ended:
            return
        self._events.append(event)
        self._ended = self._is_last(event)
        while self._waiting and (self._events or self._ended):
            self._waiting.popleft().callback(None)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        while not self._events:
            if self._ended:
                raise StopAsyncIteration
            waiting: Deferred[None] = Deferred()
            self._waiting.append(waiting)
            await waiting
        return self._events.popleft()
