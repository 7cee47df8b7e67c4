"""The link on which the room store asks Redis: kept up for ever, and never waited for."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import attrs
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_relay.core.redis_url import RedisAddress
from twisted_relay.core.settings import RedisSettings
from twisted_relay.engine.interfaces import StoreAbsent, StoreRefused, StoreUnavailable
from twisted_relay.engine.metrics import Metrics
from twisted_relay.shell.logs import Throttle
from twisted_relay.shell.redis_connection import Connection, ErrorReply, Part, RedisFault, Server
from twisted_relay.shell.redis_reconnect import Reconnect

#: Seconds between two beats.
BEAT = 1.0
#: Seconds without an answer after which Redis is not ready, and the time unbroken ends.
GAP = 2.5 * BEAT
#: Milliseconds by which Redis' clock may differ from what was expected of it.
_CLOCK_JUMP_MS = 1000
#: Refusals of a Redis that takes no writes at all for now.
_WRITES_NOTHING = frozenset(
    ("oom", "misconf", "noreplicas", "readonly", "masterdown", "clusterdown", "loading", "busy")
)


@attrs.frozen
class Script:
    """A Lua script, and the name under which Redis keeps it: the SHA-1 of its text."""

    source: str
    sha: str = attrs.field(init=False)

    @sha.default
    def _sha_of_source(self) -> str:
        return hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()


class RedisLink:
    """One connection for commands, which are carried out in the order in which they are given.

    After a `StoreUnavailable` nothing is known of the command: it may have been carried out, or,
    if Redis itself stood still with the command already received, may be when it goes on. What
    must not happen late must say so in its script, by Redis' time (`server_ms`).

    Args:
        seconds: a clock that nobody sets.

    Attributes:
        time_limit: seconds after which a command has failed.
        latency_ms: the last round trip of a beat; None before the first.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        address: RedisAddress,
        settings: RedisSettings,
        metrics: Metrics,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self._metrics = metrics
        self._seconds = seconds
        self._server = Server(reactor, address, settings, metrics)
        self._reconnect = Reconnect(reactor, self._attempt, metrics, "redis", "Redis")
        self._beats = LoopingCall(self._beat)
        self._beats.clock = reactor
        self._beating = False
        self._connection: Connection | None = None
        self._answered_at = self._unbroken_since = float("-inf")
        self._redis_ms, self._redis_ms_at = 0.0, 0.0
        self._refusals = Throttle(10.0)
        self._policies_told: set[bytes] = set()
        self.time_limit = self._server.time_limit
        self.latency_ms: float | None = None
        metrics.redis_ready = 0

    def start(self) -> None:
        """Connect, and stay connected until `stop`."""
        self._reconnect.start()

    async def stop(self) -> None:
        """Part; commands that are under way fail."""
        self._reconnect.stop()

    @property
    def ready(self) -> bool:
        """Whether Redis answered just now."""
        return self._connection is not None and self._seconds() - self._answered_at < GAP

    @property
    def message(self) -> str:
        """A sentence for the operator."""
        if self.ready:
            return "Redis answers"
        if self._connection is not None:
            return "Redis does not answer"
        reason = self._reconnect.reason
        return f"Redis is not there: {reason}" if reason else "Redis was not reached yet"

    @property
    def unbroken_for(self) -> float:
        """Seconds for which beats have been answered with no gap but a short one; 0 if they are
        not. A gap shows as well when it was this process that stood still."""
        return max(0.0, self._answered_at - self._unbroken_since) if self.ready else 0.0

    def server_ms(self) -> int:
        """Redis' own Unix time in ms, or less: what it last said, and what has passed since that
        came. 0 before the first beat."""
        if self._redis_ms == 0:
            return 0
        return int(self._redis_ms + (self._seconds() - self._redis_ms_at) * 1000)

    async def command(self, *parts: Part) -> Any:
        """Give a command; returns bytes, int, None or a list of those.

        Raises `StoreUnavailable` at once without a connection, and after `time_limit` without an
        answer; also when Redis refuses.
        """
        try:
            return await self._ask(*parts)
        except ErrorReply as refused:
            raise self.refused(refused.reason) from None

    async def script(
        self, script: Script, keys: Sequence[str | bytes], args: Sequence[Part] = ()
    ) -> Any:
        """Run a script, by its name where Redis still knows it; as `command` otherwise."""
        try:
            try:
                return await self._ask("EVALSHA", script.sha, len(keys), *keys, *args)
            except ErrorReply as refused:
                if refused.reason != "noscript":
                    raise
                # It was restarted, or told to forget scripts.
                return await self._ask("EVAL", script.source, len(keys), *keys, *args)
        except ErrorReply as refused:
            raise self.refused(refused.reason) from None

    def refused(self, reason: str) -> StoreUnavailable:
        """What to raise where Redis refused, or gave a reply that makes no sense: counted, and
        logged by this one word."""
        self._metrics.redis_errors += 1
        suppressed = self._refusals.admit(reason, self._seconds())
        if suppressed is not None:
            self._log.warn(
                "Redis refused a command: {code}",
                event="redis_refused",
                code=reason.upper(),
                suppressed=suppressed or None,
            )
        if reason in _WRITES_NOTHING:
            # Renewals may be refused, too: the others are not dead because Redis writes nothing.
            self._unbroken_since = self._seconds()
        if reason == "readonly" and self._connection is not None:
            # It was made a replica: its name may stand for another server by now.
            self._connection.abort("replica")
        # A script writes nothing before all is read and found good; of a reply that makes no sense
        # nobody knows what came before it.
        kind = StoreUnavailable if reason == "senseless" else StoreRefused
        return kind(f"Redis refused: {reason}")

    async def _ask(self, *parts: Part) -> Any:
        if self._connection is None:
            self._metrics.redis_errors += 1
            raise StoreAbsent("Redis is not connected")
        try:
            return await self._connection.ask(*parts)
        except ErrorReply:
            raise
        except RedisFault as fault:
            self._metrics.redis_errors += 1
            raise StoreUnavailable(f"Redis: {fault.reason}") from None

    async def _attempt(self) -> None:
        connection = await self._server.connect(Connection)
        try:
            asked = self._seconds()
            self._answered(await connection.ask("TIME"), asked)
            await self._look_at_policy(connection)
            self._unbroken_since = self._answered_at
            self._connection = connection
            self._metrics.redis_ready = 1
            self._reconnect.succeeded()
            self._beating = False
            self._beats.start(BEAT, now=False).addErrback(self._beat_failed)
            raise RedisFault(await connection.until_over())
        finally:
            self._connection = None
            self._metrics.redis_ready = 0
            if self._beats.running:
                self._beats.stop()
            connection.abort("parted")

    def _beat(self) -> None:
        self._metrics.redis_ready = int(self.ready)
        if self._beating or self._connection is None:
            # The last one is unanswered: the connection watches over that.
            return
        self._beating = True
        asked = self._seconds()
        self._connection.ask("TIME").addCallbacks(
            self._beat_answered, self._beat_missed, callbackArgs=(asked,)
        ).addErrback(self._beat_failed)

    def _beat_answered(self, reply: list[bytes], asked: float) -> None:
        self._beating = False
        self._answered(reply, asked)
        self._metrics.redis_ready = 1
        self._reconnect.steady()

    def _beat_missed(self, failure: Failure) -> None:
        """Redis refused, being busy with a script, say; or the connection is over."""
        failure.trap(RedisFault)
        self._beating = False
        self._metrics.redis_errors += 1

    def _beat_failed(self, failure: Failure) -> None:
        """A looping call ends with the first exception: a new connection brings a new one."""
        self._log.failure("a beat failed", failure, event="redis_failed")
        if self._connection is not None:
            self._connection.abort("bug")

    def _answered(self, reply: list[bytes], asked: float) -> None:
        """Note what a beat (TIME: seconds and microseconds) said, and when."""
        now, said = self._seconds(), int(reply[0]) * 1000 + int(reply[1]) / 1000
        # Leases go by Redis' clock: where it was set, they look lapsed though nobody was away.
        was_set = abs(said - self.server_ms()) > _CLOCK_JUMP_MS + (now - asked) * 1000
        if was_set or now - self._answered_at >= GAP:
            self._unbroken_since = now
        self._answered_at = self._redis_ms_at = now
        self._redis_ms = said
        self.latency_ms = (now - asked) * 1000
        self._metrics.redis_latency.observe(now - asked)

    async def _look_at_policy(self, connection: Connection) -> None:
        """Warn if Redis may drop rooms that are in use. All our keys expire, so that the policies
        that spare keys without an expiry do not spare ours."""
        try:
            reply = await connection.ask("CONFIG", "GET", "maxmemory-policy")
        except ErrorReply:
            # Hosted servers seldom let anybody ask.
            return
        policy = reply[1] if isinstance(reply, list) and len(reply) == 2 else b"noeviction"
        if policy != b"noeviction" and policy not in self._policies_told:
            self._policies_told.add(policy)
            self._log.warn(
                "Redis drops rooms in use when its memory is full (maxmemory-policy {policy}); "
                "noeviction is safe",
                event="redis_evicts",
                policy=policy.decode("ascii", "replace"),
            )
