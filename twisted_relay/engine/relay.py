"""The relay: facts from connections become intents of their sessions, and intents become effects.

Nothing on the path of a message is awaited; only coming and going is (`effects`, `membership`).
What a relay is made of is put together in `assembly`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_relay.core.errors import Close, Code, RelayError
from twisted_relay.core.rooms import Rooms
from twisted_relay.core.session import Session
from twisted_relay.core.settings import RoomLimits, SessionLimits
from twisted_relay.engine.bugs import Bugs
from twisted_relay.engine.client import Client
from twisted_relay.engine.deadlines import Deadlines
from twisted_relay.engine.departures import Departures
from twisted_relay.engine.drain import send_everybody_away
from twisted_relay.engine.effects import Effects
from twisted_relay.engine.fanout import Fanout
from twisted_relay.engine.heartbeat import Heartbeat
from twisted_relay.engine.interfaces import IConnection, StoreUnavailable
from twisted_relay.engine.membership import Membership
from twisted_relay.engine.metrics import Metrics
from twisted_relay.engine.notices import Notices, greeting
from twisted_relay.engine.seal import Seal
from twisted_relay.engine.spans import Spans
from twisted_relay.engine.upkeep import Upkeep


@attrs.frozen
class Environment:
    """Where a relay's time, randomness and counters come from.

    Attributes:
        clock: an `IReactorTime`; intervals are measured on it.
        now_ms: Unix time in milliseconds.
        random_bytes: `os.urandom`, or its stand-in in a test.
        metrics: where events are counted.
        server: name and version, told in HELLO.
        soon: calls a function at the end of this turn of the reactor; None for the clock's
            next turn.
    """

    clock: IReactorTime
    now_ms: Callable[[], int]
    random_bytes: Callable[[int], bytes]
    metrics: Metrics
    server: str
    soon: Callable[[Callable[[], None]], object] | None = None


@attrs.frozen
class Parts:
    """What a relay is made of; `assembly.make_relay` puts it together."""

    rooms: Rooms[Client]
    fanout: Fanout
    notices: Notices
    effects: Effects
    membership: Membership
    spans: Spans
    upkeep: Upkeep
    departures: Departures
    seal: Seal
    join_due: Deadlines[Client]
    heartbeat: Heartbeat
    bugs: Bugs


class Relay:
    """Relays between the clients of this process.

    Args:
        environment: time, randomness, counters.
        session: limits of a connection.
        rooms: limits of a room.
        parts: what it is made of.

    Attributes:
        clients: all who are connected.
        rooms: the rooms that have members here.
        draining: whether everybody is being sent elsewhere.
    """

    _log = Logger()

    def __init__(
        self, environment: Environment, session: SessionLimits, rooms: RoomLimits, parts: Parts
    ) -> None:
        self._environment = environment
        self._clock = environment.clock
        self._limits = session
        self._metrics = environment.metrics
        self._hello = greeting(environment.server, session, rooms)
        self.clients: set[Client] = set()
        self.rooms = parts.rooms
        self.draining = False
        self._fanout = parts.fanout
        self._notices = parts.notices
        self._effects = parts.effects
        self._membership = parts.membership
        self._spans = parts.spans
        self._upkeep = parts.upkeep
        self._departures = parts.departures
        self._seal = parts.seal
        self._join_due = parts.join_due
        self._heartbeat = parts.heartbeat
        self._bugs = parts.bugs

    def start(self) -> None:
        """Begin to keep time."""
        self._heartbeat.start()
        self._spans.start()

    def stop(self) -> None:
        """End whatever goes on by itself."""
        self._heartbeat.stop()
        self._join_due.stop()
        self._upkeep.stop()
        self._spans.stop()
        self._departures.stop()

    def change(
        self, session: SessionLimits, rooms: RoomLimits, bus_keys: Sequence[bytes] = ()
    ) -> None:
        """Go by other limits and keys from now on.

        Who is connected keeps the sizes, rates and time limits that held when it came; how much may
        wait for a client holds for all.
        """
        self._limits = session
        self._hello = greeting(self._environment.server, session, rooms)
        self._join_due.change(session.join_timeout_ms / 1000)
        if self._fanout.most_unsent is not None:
            self._fanout.most_unsent = session.slow_consumer_buffer_threshold
        self._notices.change(rooms.max_participants)
        self._seal.change(bus_keys)

    # Facts from a connection.

    def opened(self, connection: IConnection) -> Client:
        """A client has connected; it is greeted."""
        now = self._clock.seconds()
        client = Client(connection, Session(self._limits, now), now)
        self.clients.add(client)
        self._metrics.active_connections += 1
        self._metrics.total_connections += 1
        self._heartbeat.add(client)
        self._join_due.add(client)
        self._notices.hello(client, self._environment.now_ms(), self._hello)
        return client

    def received(self, client: Client, payload: bytes) -> None:
        """A client's text message came, whole and valid UTF-8."""
        self._metrics.bytes_received += len(payload)
        try:
            intent = client.session.received(payload, client.heard_at)
            if intent is not None:
                self._effects.carry_out(client, intent)
        except Exception:
            self.broken(Failure(), client, "INVALID")
        if client.session.waiting:
            client.connection.pause()

    def received_binary(self, client: Client) -> None:
        """A binary message came; this protocol has none."""
        self._metrics.messages_received["INVALID"] += 1
        self.close(client, Close.INVALID_MESSAGE)

    def admits_frame(self, client: Client) -> bool:
        """A frame came that is no message of its own: a ping, a pong, a further fragment.

        It costs as much as a message, so it is counted like one. False if the client is, or is
        being, cut off: then the frame is not to be answered.
        """
        if client.session.is_closed:
            return False
        if not client.session.admits_frame(client.heard_at):
            self.close(client, Close.RATE_LIMIT)
            return False
        return self._fanout.keeps_up(client)

    def lost(self, client: Client, reason: str) -> None:
        """The connection is gone. `reason` is one of the metric's disconnect reasons; it counts
        unless the relay itself closed the connection and knows better."""
        if client not in self.clients:
            return
        self.clients.discard(client)
        self._metrics.active_connections -= 1
        self._metrics.disconnections += 1
        if self._let_go(client):
            self._metrics.disconnect_reasons[reason] += 1

    # Calls over HTTP.

    async def create_empty_room(self, address_key: str) -> str:
        """A room that waits for its first member. Raises RelayError."""
        try:
            return await self._membership.create_empty(address_key)
        except StoreUnavailable:
            raise RelayError(Code.UNAVAILABLE) from None

    async def room_token(self, room_id: str) -> tuple[str, int]:
        """A join token and when it expires, Unix milliseconds. Raises RelayError."""
        try:
            return await self._membership.room_token(room_id)
        except StoreUnavailable:
            raise RelayError(Code.UNAVAILABLE) from None

    # Ends.

    def close(self, client: Client, why: Close) -> None:
        """End a connection for a reason that the client is told. Its seat is free at once."""
        if not self._let_go(client):
            return
        self._metrics.disconnect_reasons[why.metric] += 1
        if why in (Close.RATE_LIMIT, Close.SLOW_CONSUMER):
            self._log.warn(
                "{reason}",
                reason=why.reason,
                event=why.metric,
                client_address=client.connection.client_address,
            )
        client.connection.close(why)

    async def drain(self, seconds: float) -> None:
        """Ask every client to come back elsewhere; ends when all are gone, or after `seconds`."""
        self.draining = True
        await send_everybody_away(
            self._clock,
            seconds,
            self.clients,
            self.rooms,
            self.close,
            lambda: bool(self._departures or self._spans),
        )

    def broken(self, failure: Failure, client: Client, kind: str) -> None:
        """A bug of ours surfaced on behalf of a client, which is closed; `kind` is the type of its
        frame."""
        self._bugs.surfaced(failure, kind)
        self.close(client, Close.INTERNAL_ERROR)

    def _let_go(self, client: Client) -> bool:
        # Once for each client: whoever comes first, the close or the loss, names the reason.
        if client.session.is_closed:
            return False
        client.session.closed()
        self._heartbeat.remove(client)
        self._join_due.cancel(client)
        self._membership.drop(client)
        return True
