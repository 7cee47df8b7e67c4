"""Pings are spread, silence ends a connection in time, and what is heard counts (trap 37)."""

import collections

from stand_ins import Connection
from twisted.internet.task import Clock

from twisted_relay.engine.client import Client
from twisted_relay.engine.heartbeat import Heartbeat


def make(interval=30.0, timeout=10.0):
    clock, silent = Clock(), []
    heartbeat = Heartbeat(
        clock,
        interval,
        timeout,
        lambda client: silent.append((client, clock.seconds())),
        lambda failure, about: silent.append((failure.type, about)),
    )
    heartbeat.start()
    return clock, heartbeat, silent


def client_of(clock, heartbeat):
    connection = Connection()
    connection.clock = clock
    client = Client(connection, None, clock.seconds())
    heartbeat.add(client)
    return client


def pass_time(clock, seconds, step=0.125):
    clock.pump([step] * round(seconds / step))


def test_every_client_is_pinged_once_in_each_interval():
    clock, heartbeat, _ = make()
    clients = [client_of(clock, heartbeat) for _ in range(50)]
    for client in clients:
        client.heard_at = 1e9
    pass_time(clock, 90)
    for client in clients:
        assert len(client.connection.pings) == 3
        first, second, third = client.connection.pings
        assert (second - first, third - second) == (30, 30)


def test_clients_that_came_in_one_instant_are_not_pinged_in_one():
    clock, heartbeat, _ = make()
    clients = [client_of(clock, heartbeat) for _ in range(1200)]
    pass_time(clock, 30)
    at = collections.Counter(ping for client in clients for ping in client.connection.pings)
    assert sum(at.values()) == 1200
    assert max(at.values()) <= 1200 / 120 + 1


def test_a_client_that_stays_silent_is_reported_when_the_timeout_ends_and_not_a_tick_later():
    clock, heartbeat, silent = make()
    client = client_of(clock, heartbeat)
    pass_time(clock, 45)
    assert silent[0] == (client, client.connection.pings[0] + 10.0)


def test_anything_heard_after_the_ping_counts_as_an_answer():
    clock, heartbeat, silent = make()
    client = client_of(clock, heartbeat)
    while not client.connection.pings:
        pass_time(clock, 1)
    client.heard_at = clock.seconds()
    pass_time(clock, 12)
    assert silent == []


def test_what_was_heard_before_the_ping_does_not_count_as_an_answer():
    clock, heartbeat, silent = make()
    client = client_of(clock, heartbeat)
    while not client.connection.pings:
        client.heard_at = clock.seconds()
        pass_time(clock, 0.125)
    pass_time(clock, 11)
    assert [who for who, _ in silent] == [client]


def test_a_removed_client_is_neither_pinged_nor_reported():
    clock, heartbeat, silent = make()
    client = client_of(clock, heartbeat)
    while not client.connection.pings:
        pass_time(clock, 1)
    heartbeat.remove(client)
    heartbeat.remove(client)
    pass_time(clock, 120)
    assert len(client.connection.pings) == 1
    assert silent == []


def test_a_very_short_interval_still_pings_in_time():
    clock, heartbeat, silent = make(0.1, 0.05)
    client = client_of(clock, heartbeat)
    clock.pump([0.01] * 40)
    assert [who for who, _ in silent][:1] == [client]


def test_a_stopped_heartbeat_keeps_no_timer():
    clock, heartbeat, _ = make()
    client_of(clock, heartbeat)
    pass_time(clock, 31)
    heartbeat.stop()
    assert clock.getDelayedCalls() == []


def test_a_ping_that_fails_is_reported_and_keeps_nobody_else_from_being_pinged():
    clock, heartbeat, silent = make()
    broken, other = client_of(clock, heartbeat), client_of(clock, heartbeat)
    broken.connection.ping = lambda: 1 / 0
    broken.heard_at = other.heard_at = 1e9
    pass_time(clock, 60)
    assert silent == [(ZeroDivisionError, "PING")] * 2
    assert len(other.connection.pings) == 2
