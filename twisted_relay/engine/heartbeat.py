"""Pings, spread over the interval, and the end of those who do not answer them."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure

from twisted_relay.engine.client import Client
from twisted_relay.engine.deadlines import Deadlines

#: A slot is at least this long, seconds: finer steps would only wake an idle process.
_SHORTEST_SLOT = 0.25


class Heartbeat:
    """Pings every client once in each interval, and reports the ones that stay silent.

    The clients are dealt out over slots of the interval, so that ten thousand that came in one
    instant are still not pinged in one. Anything heard after a ping counts as an answer.

    Args:
        clock: an `IReactorTime`.
        interval: seconds between two pings to the same client.
        timeout: seconds after a ping in which something must be heard.
        silent: called with a client from which nothing was.
        broken: called with what a ping failed with; the other clients are pinged all the same.
    """

    def __init__(
        self,
        clock: IReactorTime,
        interval: float,
        timeout: float,
        silent: Callable[[Client], None],
        broken: Callable[[Failure, str], None],
    ) -> None:
        count = max(1, min(240, int(interval / _SHORTEST_SLOT)))
        self._slots: list[dict[Client, None]] = [{} for _ in range(count)]
        self._clock = clock
        self._next_slot = 0
        self._next_seat = 0
        self._silent = silent
        self._broken = broken
        self._answers = Deadlines(clock, timeout, self._judge)
        self._loop = LoopingCall(self._turn)
        self._loop.clock = clock
        self._period = interval / count

    def start(self) -> None:
        """Begin to ping."""
        self._loop.start(self._period, now=False).addErrback(self._broken, "PING")

    def stop(self) -> None:
        """Ping no more."""
        if self._loop.running:
            self._loop.stop()
        self._answers.stop()

    def add(self, client: Client) -> None:
        """Watch over a client from now on."""
        client.slot = self._next_seat = (self._next_seat + 1) % len(self._slots)
        self._slots[client.slot][client] = None

    def remove(self, client: Client) -> None:
        """Watch no longer; harmless if it was not watched."""
        self._slots[client.slot].pop(client, None)
        self._answers.cancel(client)

    def _turn(self) -> None:
        self._next_slot = (self._next_slot + 1) % len(self._slots)
        now = self._clock.seconds()
        for client in tuple(self._slots[self._next_slot]):
            client.pinged_at = now
            try:
                client.connection.ping()
            except Exception:
                # A looping call ends with the first exception, and nobody would be pinged again.
                self._broken(Failure(), "PING")
            self._answers.add(client)

    def _judge(self, client: Client) -> None:
        if client.heard_at < client.pinged_at:
            self._silent(client)
