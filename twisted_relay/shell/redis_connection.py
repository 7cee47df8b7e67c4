"""One connection to Redis: txredisapi reads the protocol, the discipline is ours.

Redis answers in the order in which it was asked, so one timer watches the oldest question that is
unanswered. An answer that is late makes all behind it late, and what became of them unknown:
the connection is then aborted. txredisapi's own ways are left aside: it waits without a limit for a
connection, gives up for ever after one failed AUTH, and has no limit on AUTH itself.
"""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

import txredisapi
from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet import error
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.defer import TimeoutError as DeferredTimeoutError
from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint, wrapClientTLS
from twisted.internet.interfaces import IDelayedCall, IReactorTime, ITCPTransport
from twisted.internet.protocol import Factory
from twisted.internet.ssl import optionsForClientTLS
from twisted.python.failure import Failure

from twisted_relay.core.redis_url import RedisAddress
from twisted_relay.core.settings import RedisSettings
from twisted_relay.engine.metrics import Metrics

Part = str | bytes | int | float
#: What its readers raise for bytes that are not Redis' protocol, or not as RESP2 has it. hiredis
#: makes a dict of a RESP3 map, whatever its keys.
_NO_REDIS = (txredisapi.RedisError, ValueError, TypeError, OverflowError, RecursionError)
_CODE = re.compile(r"[A-Z][A-Z]{1,19}\b")


class RedisFault(Exception):
    """What was asked of Redis failed, or may have.

    Attributes:
        reason: one word, fit for the log: nothing of what Redis or the network said, which may
            hold addresses, keys or values.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class ErrorReply(RedisFault):
    """Redis refused. ``reason`` is its code in small letters: ``noscript``, ``oom``, ``err``."""


_REASONS: tuple[tuple[type[BaseException], str], ...] = (
    (DeferredTimeoutError, "timeout"),
    (error.TimeoutError, "timeout"),
    # What an endpoint makes of being cancelled when the time is over.
    (error.ConnectingCancelledError, "timeout"),
    (error.ConnectionRefusedError, "refused"),
    (error.DNSLookupError, "name"),
    (VerificationError, "certificate"),
    (SSL.Error, "tls"),
    (error.ConnectionClosed, "closed"),
    (error.ConnectError, "unreachable"),
    (OSError, "unreachable"),
    (UnicodeError, "name"),
)


def reason_of(trouble: BaseException | None) -> str | None:
    """One word for what an attempt to connect failed with, or a connection ended with; None for
    what is no fault of Redis or the network."""
    if isinstance(trouble, RedisFault):
        return trouble.reason
    if isinstance(trouble, SSL.Error) and "certificate" in str(trouble):
        return "certificate"
    for kind, reason in _REASONS:
        if isinstance(trouble, kind):
            return reason
    return None


def _code_of(reply: BaseException) -> str:
    # The text behind the code may quote what was sent.
    found = _CODE.match(str(reply))
    return found[0].lower() if found else "err"


def encode(*parts: Part) -> bytes:
    """A command as Redis' protocol (RESP2) wants it: an array of bulk strings."""
    pieces = [b"*%d\r\n" % len(parts)]
    for part in parts:
        data = part if isinstance(part, bytes) else str(part).encode()
        pieces.append(b"$%d\r\n%b\r\n" % (len(data), data))
    return b"".join(pieces)


class Connection(txredisapi.RedisProtocol):
    """One connection. Replies are bytes, int, None and lists of those.

    Args:
        clock: an `IReactorTime`, for the timer.
        time_limit: seconds within which each question must be answered.
        seconds: a clock that nobody sets, by which answers are late.

    Attributes:
        over: why the connection ended, in one word; None while it is there.
        tells_role: whether Redis lets us ask if it is a replica.
        unanswered_bytes: the size of what was sent and is not answered yet.
    """

    def __init__(
        self,
        clock: IReactorTime,
        time_limit: float,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(charset=None, convertNumbers=False)
        self.over: str | None = None
        self.tells_role = True
        self.unanswered_bytes = 0
        self._clock = clock
        self._time_limit = time_limit
        self._seconds = seconds
        self._unanswered: deque[tuple[float, int, Deferred[Any] | None]] = deque()
        self._timer: IDelayedCall | None = None
        self._watchers: list[Deferred[str]] = []

    def connectionMade(self) -> None:
        # In place of txredisapi's, which asks for AUTH and SELECT without a time limit.
        if ITCPTransport.providedBy(self.transport):
            self.transport.setTcpNoDelay(True)

    def ask(self, *parts: Part) -> Deferred[Any]:
        """Send a command; fires with its reply, or fails with `RedisFault`."""
        if self.over is not None:
            return fail(RedisFault(self.over))
        answer: Deferred[Any] = Deferred()
        self.send(encode(*parts), answer)
        return answer

    def send(self, command: bytes, answer: Deferred[Any] | None = None) -> None:
        """Send an encoded command. Where nobody waits for the answer, a refusal ends the
        connection: it must not go unseen. Nothing happens on a connection that is over."""
        if self.over is not None:
            return
        self._unanswered.append((self._seconds(), len(command), answer))
        self.unanswered_bytes += len(command)
        self.transport.write(command)
        if self._timer is None:
            self._timer = self._clock.callLater(self._time_limit, self._look_at_oldest)

    def until_over(self) -> Deferred[str]:
        """Fires with the reason when the connection ends, before what waits for answers fails."""
        if self.over is not None:
            return succeed(self.over)
        self._watchers.append(Deferred())
        return self._watchers[-1]

    def abort(self, reason: str) -> None:
        """End the connection at once; harmless if it is over."""
        if self.over is None:
            self._end(reason)
            self.transport.abortConnection()

    def connectionLost(self, why: Failure) -> None:
        super().connectionLost(why)
        if self.over is None:
            self._end(reason_of(why.value) or "closed")

    def dataReceived(self, data: bytes, unpause: bool = False) -> None:
        try:
            super().dataReceived(data, unpause)
        except _NO_REDIS:
            self.abort("protocol")

    def replyReceived(self, reply: Any) -> None:
        if self.over is not None:
            # What was read in one piece with that which ended it.
            return
        if not self._unanswered:
            # Redis refuses before it is asked when it has too many clients, say.
            self.abort(_code_of(reply) if isinstance(reply, Exception) else "protocol")
            return
        _asked, size, answer = self._unanswered.popleft()
        self.unanswered_bytes -= size
        if isinstance(reply, Exception):
            if answer is None or not isinstance(reply, txredisapi.ResponseError):
                self.abort(_code_of(reply))
            if answer is not None:
                answer.errback(ErrorReply(_code_of(reply)))
        elif answer is not None:
            # A status is text with txredisapi's own parser, and bytes with hiredis.
            answer.callback(reply.encode() if isinstance(reply, str) else reply)

    def _look_at_oldest(self, given_a_turn: object = None) -> None:
        """End the connection if the oldest question is late; else look again when it may be."""
        self._timer = None
        if not self._unanswered:
            return
        oldest = self._unanswered[0]
        left = oldest[0] + self._time_limit - self._seconds()
        if left > 0:
            self._timer = self._clock.callLater(left, self._look_at_oldest)
        elif given_a_turn is oldest:
            self.abort("timeout")
        else:
            # It may be this process that stood still, and the answer here but unread.
            self._timer = self._clock.callLater(0, self._look_at_oldest, oldest)

    def _end(self, reason: str) -> None:
        self.over = reason
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        watchers, self._watchers = self._watchers, []
        for watcher in watchers:
            watcher.callback(reason)
        unanswered, self._unanswered = self._unanswered, deque()
        for _asked, _size, answer in unanswered:
            if answer is not None:
                answer.errback(RedisFault(reason))


_C = TypeVar("_C", bound=Connection)


class Server:
    """The way to one Redis server.

    ``rediss`` checks the certificate, by the authorities that the system trusts (or those that
    ``SSL_CERT_FILE`` names), and that it is for the host of the URL.

    Attributes:
        time_limit: seconds that a command may take.
    """

    def __init__(
        self, reactor: Any, address: RedisAddress, settings: RedisSettings, metrics: Metrics
    ) -> None:
        self._reactor = reactor
        self._metrics = metrics
        self._address = address
        self._connect_limit = settings.connect_timeout_ms / 1000
        self.time_limit = settings.command_timeout_ms / 1000
        if address.scheme == "unix":
            self._endpoint: Any = UNIXClientEndpoint(reactor, address.path, self._connect_limit)
        else:
            self._endpoint = HostnameEndpoint(
                reactor, address.host, address.port, timeout=self._connect_limit
            )
        if address.scheme == "rediss":
            self._endpoint = wrapClientTLS(optionsForClientTLS(address.host), self._endpoint)

    async def connect(self, protocol: type[_C]) -> _C:
        """A connection on which commands may be given: entered, with the database chosen.

        Raises `RedisFault`, or whatever the network did. Cancelling gives up.
        """
        factory = _Factory.forProtocol(lambda: protocol(self._reactor, self.time_limit))
        # The endpoint's own limit does not count the time that looking up a name takes.
        connecting = self._endpoint.connect(factory)
        connection: _C = await connecting.addTimeout(self._connect_limit, self._reactor)
        try:
            await self._enter(connection)
        except BaseException:
            connection.abort("given_up")
            raise
        self._metrics.redis_connects += 1
        return connection

    async def _enter(self, connection: Connection) -> None:
        address = self._address
        if address.password is not None:
            name = () if address.username is None else (address.username,)
            await connection.ask("AUTH", *name, address.password)
        if address.database:
            await connection.ask("SELECT", address.database)
        # Refused while it still loads its data, or wants a password.
        await connection.ask("PING")
        try:
            refuse_replica(await connection.ask("ROLE"))
        except ErrorReply:
            # Not every server lets everybody ask.
            connection.tells_role = False


def refuse_replica(role: Any) -> None:
    """Raise `RedisFault` if this reply to ROLE is a replica's: it refuses what is written, and what
    is published there is not heard by those on its master."""
    if isinstance(role, list) and role and role[0] in (b"slave", b"replica"):
        raise RedisFault("replica")


class _Factory(Factory):
    noisy = False
