"""How the parts of a relay are put together: which part is made of which."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import attrs

from twisted_relay.core.errors import Close
from twisted_relay.core.rooms import Rooms
from twisted_relay.core.settings import RoomLimits, SessionLimits
from twisted_relay.core.tokens import TokenSigner
from twisted_relay.engine.bugs import Bugs
from twisted_relay.engine.client import Client
from twisted_relay.engine.deadlines import Deadlines
from twisted_relay.engine.departures import Departures
from twisted_relay.engine.effects import Effects
from twisted_relay.engine.fanout import Fanout
from twisted_relay.engine.heartbeat import Heartbeat
from twisted_relay.engine.interfaces import IBus, IRoomStore, QrToken
from twisted_relay.engine.issuer import Issuer
from twisted_relay.engine.membership import Membership
from twisted_relay.engine.names import Names
from twisted_relay.engine.notices import Notices
from twisted_relay.engine.place import Surroundings
from twisted_relay.engine.relay import Environment, Parts, Relay
from twisted_relay.engine.seal import Seal
from twisted_relay.engine.seats import Seats
from twisted_relay.engine.spans import Spans
from twisted_relay.engine.upkeep import Upkeep


def make_relay(
    environment: Environment,
    session: SessionLimits,
    rooms: RoomLimits,
    signer: TokenSigner,
    next_token_ttl_ms: int,
    store: IRoomStore,
    cut_slow: bool = True,
    bus: IBus | None = None,
    bus_keys: Sequence[bytes] = (),
) -> Relay:
    """Return a relay with all its parts.

    Args:
        environment: time, randomness, counters.
        session: limits of a connection.
        rooms: limits of a room.
        signer: makes and checks join tokens.
        next_token_ttl_ms: how long a seat can be taken back, milliseconds.
        store: the rooms of all instances.
        cut_slow: False lets a client that does not read pile up bytes without bound.
        bus: between the instances; None if the store has but this one.
        bus_keys: seal what goes over the bus: the first seals, each opens.
    """
    return _Assembly(
        environment, session, rooms, signer, next_token_ttl_ms, store, cut_slow, bus, bus_keys
    ).relay


@attrs.define(slots=False, eq=False)
class _Assembly:
    """The parts of one relay by name, each made when it is first asked for.

    What is made earlier and tells what is made later does so by a function, which looks here when
    it is called: above all those who end a connection, as the relay itself is made last.
    """

    environment: Environment
    session: SessionLimits
    limits: RoomLimits
    signer: TokenSigner
    next_token_ttl_ms: int
    store: IRoomStore
    cut_slow: bool
    bus: IBus | None
    bus_keys: Sequence[bytes]

    def __attrs_post_init__(self) -> None:
        self.clock = self.environment.clock
        self.metrics = self.environment.metrics
        self.names = Names(self.environment.random_bytes)
        self.bugs = Bugs(self.metrics)
        self.rooms: Rooms[Client] = Rooms()
        self.seal = Seal(self.bus_keys)
        self.departures = Departures(self.clock, self.store)

    def close(self, client: Client, why: Close) -> None:
        self.relay.close(client, why)

    @cached_property
    def relay(self) -> Relay:
        parts = Parts(
            self.rooms,
            self.fanout,
            self.notices,
            self.effects,
            self.membership,
            self.spans,
            self.upkeep,
            self.departures,
            self.seal,
            self.join_due,
            self.heartbeat,
            self.bugs,
        )
        return Relay(self.environment, self.session, self.limits, parts)

    # What clients hear.

    @cached_property
    def fanout(self) -> Fanout:
        return Fanout(
            self.clock,
            self.metrics,
            self.session.slow_consumer_buffer_threshold if self.cut_slow else None,
            lambda client: self.close(client, Close.SLOW_CONSUMER),
            self.environment.soon,
        )

    @cached_property
    def notices(self) -> Notices:
        return Notices(self.fanout, self.names.frame, self.limits.max_participants)

    # Rooms and their seats.

    @cached_property
    def spans(self) -> Spans:
        around = Surroundings(
            self.clock,
            self.rooms,
            self.fanout,
            self.notices,
            self.metrics,
            self.bus,
            self.seal,
            settled=lambda said, handed: self.effects.settled(said, handed),
            shows=lambda room, shown: self.upkeep.tell_qr(
                room, QrToken(shown.id, shown.expires_ms)
            ),
            put_out=lambda member, why: self.seats.put_out(member, why),
            doubted=lambda place: self.spans.recover(place),
        )
        return Spans(
            around,
            self.limits,
            self.store,
            self.names.lease,
            self.environment.now_ms,
            self.bugs.surfaced,
        )

    @cached_property
    def seats(self) -> Seats:
        return Seats(
            self.rooms,
            self.spans,
            self.fanout,
            self.upkeep,
            self.departures,
            self.metrics,
            self.close,
            self.bugs.surfaced,
        )

    @cached_property
    def issuer(self) -> Issuer:
        return Issuer(
            self.signer,
            self.environment.now_ms,
            self.next_token_ttl_ms,
            self.limits.qr_rotation_ms,
        )

    @cached_property
    def upkeep(self) -> Upkeep:
        return Upkeep(
            self.clock,
            self.limits,
            self.store,
            self.rooms,
            self.issuer,
            self.notices,
            self.spans.show,
            self.bugs.surfaced,
        )

    @cached_property
    def membership(self) -> Membership:
        return Membership(
            self.store,
            self.rooms,
            self.spans,
            self.seats,
            self.issuer,
            self.notices,
            self.upkeep,
            self.bugs.surfaced,
        )

    # What clients ask for, and how long they may be silent.

    @cached_property
    def effects(self) -> Effects:
        return Effects(
            self.fanout,
            self.notices,
            self.membership,
            self.metrics,
            self.join_due,
            self.close,
            lambda failure, client, kind: self.relay.broken(failure, client, kind),
        )

    @cached_property
    def join_due(self) -> Deadlines[Client]:
        return Deadlines(
            self.clock,
            self.session.join_timeout_ms / 1000,
            lambda client: self.close(client, Close.JOIN_TIMEOUT),
        )

    @cached_property
    def heartbeat(self) -> Heartbeat:
        return Heartbeat(
            self.clock,
            self.session.ping_interval_ms / 1000,
            self.session.ping_timeout_ms / 1000,
            lambda client: self.close(client, Close.PING_TIMEOUT),
            self.bugs.surfaced,
        )
