"""Asks the Redis of REDIS_URL, with commands that change nothing."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any

import attrs
import hiredis
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint, wrapClientTLS
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.ssl import optionsForClientTLS
from twisted.python.failure import Failure

from twisted_relay.core.redis_url import RedisAddress
from twisted_relay.doctor.network import Unreachable, reason_of

PINGS = 10
_CONFIGURED = (
    *("maxmemory", "maxmemory-policy", "save", "appendonly", "client-output-buffer-limit"),
)


class ErrorReply(Exception):
    """Redis refused. ``code`` is the word that its reply begins with; the rest may quote what was
    sent."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@attrs.frozen
class RedisFacts:
    """What Redis said.

    Attributes:
        fault: why it could not be asked; empty if it could.
        step: what failed: ``connect``, ``enter`` (AUTH, SELECT, PING).
        code: Redis' own word for a refusal.
        role: of ROLE; empty where that may not be asked.
        info: the fields of INFO; nothing where that may not be asked.
        configured: of CONFIG GET, as far as that may be asked.
        pings: seconds of each.
        ahead: by how many seconds its clock is ahead of ours, and what that may be wrong by.
    """

    fault: str = ""
    step: str = ""
    code: str = ""
    role: str = ""
    info: dict[str, str] = attrs.field(factory=dict, repr=False)
    configured: dict[str, str] = attrs.field(factory=dict, repr=False)
    pings: tuple[float, ...] = ()
    ahead: tuple[float, float] | None = None


class _Connection(Protocol):
    """Commands and replies, in order."""

    def __init__(self) -> None:
        self._reader = hiredis.Reader(replyError=_error_reply)
        self._waiting: deque[Deferred[Any]] = deque()
        self._over: Failure | None = None

    def ask(self, *parts: Any) -> Deferred[Any]:
        """Give a command; fires with its reply."""
        answer: Deferred[Any] = Deferred()
        if self._over is not None:
            answer.errback(self._over)
            return answer
        self._waiting.append(answer)
        transport: Any = self.transport
        transport.write(hiredis.pack_command(parts))
        return answer

    def part(self) -> None:
        """Close."""
        transport: Any = self.transport
        transport.loseConnection()

    def dataReceived(self, data: bytes) -> None:
        try:
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not False:
                self._replied(reply)
        except (hiredis.ProtocolError, TypeError, RecursionError):
            self._end(Failure(Unreachable("what answers there is no Redis")))
            transport: Any = self.transport
            transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._end(reason)

    def _replied(self, reply: Any) -> None:
        if not self._waiting:
            return
        answer = self._waiting.popleft()
        if answer.called:
            return
        if isinstance(reply, ErrorReply):
            answer.errback(reply)
        else:
            answer.callback(reply)

    def _end(self, reason: Failure) -> None:
        if self._over is None:
            self._over = reason
        waiting, self._waiting = self._waiting, deque()
        for answer in waiting:
            if not answer.called:
                answer.errback(self._over)


def _error_reply(text: str) -> ErrorReply:
    return ErrorReply(text.split(" ", 1)[0][:20])


class RedisVisit:
    """One visit.

    Args:
        limit: seconds to connect, and for each command.
        now: gives Unix time.
    """

    def __init__(
        self,
        reactor: Any,
        address: RedisAddress,
        limit: float,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._reactor, self._address, self._limit, self._now = reactor, address, limit, now

    async def make(self) -> RedisFacts:
        """Look at everything."""
        try:
            connection = await self._connect()
        except Exception as fault:  # whatever a socket or OpenSSL has to say
            return RedisFacts(reason_of(fault), "connect")
        facts = RedisFacts(step="enter")
        try:
            await self._enter(connection)
            facts = attrs.evolve(facts, step="", **await self._look(connection))
        except ErrorReply as refused:
            facts = attrs.evolve(facts, fault="Redis refuses", code=refused.code)
        except Unreachable as fault:
            facts = attrs.evolve(facts, fault=str(fault))
        finally:
            connection.part()
        return facts

    async def _connect(self) -> _Connection:
        address = self._address
        endpoint: Any
        if address.scheme == "unix":
            endpoint = UNIXClientEndpoint(self._reactor, address.path, self._limit)
        else:
            endpoint = HostnameEndpoint(
                self._reactor, address.host, address.port, timeout=self._limit
            )
        if address.scheme == "rediss":
            # A password is about to be sent: here a certificate must be good.
            endpoint = wrapClientTLS(optionsForClientTLS(address.host), endpoint)
        factory = Factory.forProtocol(_Connection)
        factory.noisy = False
        connecting: Any = endpoint.connect(factory)
        connection: _Connection = await connecting.addTimeout(self._limit, self._reactor)
        return connection

    async def _ask(self, connection: _Connection, *parts: str) -> Any:
        try:
            return await connection.ask(*parts).addTimeout(self._limit, self._reactor)
        except (ErrorReply, Unreachable):
            raise
        except Exception as fault:  # a timeout, or the end of the connection
            raise Unreachable(_ended(fault)) from fault

    async def _enter(self, connection: _Connection) -> None:
        address = self._address
        if address.password is not None:
            user = () if address.username is None else (address.username,)
            await self._ask(connection, "AUTH", *user, address.password)
        if address.database:
            await self._ask(connection, "SELECT", str(address.database))
        await self._ask(connection, "PING")

    async def _look(self, connection: _Connection) -> dict[str, Any]:
        role = await self._allowed(connection, "ROLE")
        info = await self._allowed(connection, "INFO")
        configured = {}
        for name in _CONFIGURED:
            pair = await self._allowed(connection, "CONFIG", "GET", name)
            if isinstance(pair, list) and len(pair) == 2:
                configured[name] = _text(pair[1])
        pings = []
        for _ in range(PINGS):
            began = self._reactor.seconds()
            await self._ask(connection, "PING")
            pings.append(self._reactor.seconds() - began)
        return {
            "role": _text(role[0]) if isinstance(role, list) and role else "",
            "info": parse_info(_text(info)),
            "configured": configured,
            "pings": tuple(pings),
            "ahead": await self._clock(connection),
        }

    async def _clock(self, connection: _Connection) -> tuple[float, float] | None:
        sent = self._now()
        reply = await self._allowed(connection, "TIME")
        came = self._now()
        if not isinstance(reply, list) or len(reply) != 2:
            return None
        said = int(reply[0]) + int(reply[1]) / 1_000_000
        return said - (sent + came) / 2, (came - sent) / 2

    async def _allowed(self, connection: _Connection, *parts: str) -> Any:
        """The reply, or None where this user may not ask, as with a hosted server or an ACL."""
        try:
            return await self._ask(connection, *parts)
        except ErrorReply:
            return None


def _ended(fault: BaseException) -> str:
    if isinstance(fault, ConnectionDone):
        return "the connection was closed without an answer"
    return reason_of(fault)


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value or "")


def parse_info(text: str) -> dict[str, str]:
    """The fields of INFO."""
    pairs = (line.split(":", 1) for line in text.splitlines() if ":" in line and line[0] != "#")
    return {pair[0]: pair[1] for pair in pairs}
