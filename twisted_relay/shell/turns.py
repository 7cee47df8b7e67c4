"""The reactor's turns, without what the relay has no use for, and with an end.

Uses private attributes of Twisted's epoll reactor, and looks whether they are there.
"""

from __future__ import annotations

import collections
from collections.abc import Callable
from typing import Any

from twisted.python.reflect import qual

_EPOLL = "twisted.internet.epollreactor.EPollReactor"
#: What `Turns` needs of it.
_OF_EPOLL = ("_poller", "_selectables", "_doReadOrWrite", "doIteration")
_MOST_EVENTS = 1024


class Turns:
    """The reactor's turns; `start` takes the epoll reactor's into our own hands.

    Its own loop makes a logging context for each event, so that log lines of the old kind can name
    a "system", which ours do not: 2.7 of the 25 microseconds that a message costs. It makes room
    for as many events as there are connections, in each turn. And it has no end of a turn but a
    timer, which is 2 more. Any other reactor stays as it is, and so does one that somebody else
    has changed.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._due: collections.deque[Callable[[], object]] = collections.deque()
        self._ours = False

    def start(self) -> None:
        """From now on, if this is a reactor that we know."""
        reactor = self._reactor
        known = qual(type(reactor)) == _EPOLL and "doIteration" not in vars(reactor)
        if known and all(hasattr(reactor, name) for name in _OF_EPOLL):
            self._ours = True
            reactor.doIteration = self._turn()

    def stop(self) -> None:
        """The reactor is as it was."""
        if self._ours:
            self._ours = False
            del self._reactor.doIteration
            while self._due:
                self.soon(self._due.popleft())

    def soon(self, call: Callable[[], object]) -> None:
        """Call a function when the events of this turn have been dealt with."""
        if self._ours:
            self._due.append(call)
        else:
            self._reactor.callLater(0, call)

    def _turn(self) -> Callable[[float | None], None]:
        reactor, due = self._reactor, self._due
        poll, selectables, act = (
            reactor._poller.poll,
            reactor._selectables,
            reactor._doReadOrWrite,
        )

        def turn(timeout: float | None) -> None:
            while due:  # a timer's doing, or a thread's
                timeout = 0  # what is called may set timers itself
                due.popleft()()
            try:
                # Those left out come first in the next turn; timers are heard in between.
                events = poll(-1 if timeout is None else timeout, _MOST_EVENTS)
            except InterruptedError:
                return
            for number, event in events:
                # What came before may have closed this one.
                selectable = selectables.get(number)
                if selectable is not None:
                    act(selectable, number, event)
            while due:
                due.popleft()()

        return turn
