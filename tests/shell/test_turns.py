"""The reactor's turns in our own hands: nothing is left out, and what comes soon comes in time."""

import sys

import pytest_twisted
from connections import connection, read, stuff
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock, deferLater
from twisted.internet.testing import MemoryReactor
from twisted.internet.threads import deferToThread
from twisted.python import log

from twisted_relay.shell.turns import Turns


@pytest_twisted.async_yield_fixture
async def quick():
    turns = Turns(reactor)
    turns.start()
    # The turn in which this fixture is made is not one of them.
    await deferLater(reactor, 0)
    assert reactor.doIteration is vars(reactor)["doIteration"]
    yield turns
    turns.stop()
    assert "doIteration" not in vars(reactor)


async def say_in_one_turn(*ends):
    """Let text of each peer be there for its transport in the same turn, which is the next."""
    for made, peer in ends:
        made.stopReading()
        peer.send(b"text")
    await deferLater(reactor, 0.02)
    for made, _ in ends:
        made.startReading()


@pytest_twisted.ensureDeferred
async def test_events_timers_and_threads_go_on_in_quick_turns(quick):
    async with connection() as (made, protocol, peer):
        heard = Deferred()
        protocol.dataReceived = heard.callback
        peer.send(b"text")
        assert await heard == b"text"
        assert await deferToThread(lambda: 7) == 7
        written = await stuff(made)
        assert await read(peer, len(written)) == written
        peer.close()
        assert await protocol.lost is ConnectionDone


@pytest_twisted.ensureDeferred
async def test_a_bug_met_in_a_quick_turn_ends_its_connection_and_is_logged(quick, monkeypatch):
    logged = []
    monkeypatch.setattr(log, "err", lambda: logged.append(sys.exc_info()[0]))
    async with connection() as (made, protocol, peer), connection() as (_, other, other_peer):
        heard = Deferred()
        other.dataReceived = heard.callback
        protocol.dataReceived = lambda data: 1 / 0
        peer.send(b"text")
        other_peer.send(b"text")
        assert await heard == b"text"
        assert await protocol.lost is ZeroDivisionError
        assert logged == [ZeroDivisionError]


@pytest_twisted.ensureDeferred
async def test_whom_an_earlier_event_of_the_turn_took_out_gets_none(quick):
    async with connection() as (one, first, peer), connection() as (two, second, other_peer):
        heard = []

        def hear_alone(mine, others):
            def data_received(data):
                heard.append(mine)
                others.stopReading()

            return data_received

        first.dataReceived, second.dataReceived = hear_alone(one, two), hear_alone(two, one)
        await say_in_one_turn((one, peer), (two, other_peer))
        await deferLater(reactor, 0.02)
        assert len(heard) == 1


@pytest_twisted.ensureDeferred
async def test_what_is_to_come_soon_comes_after_the_events_of_the_turn_and_before_the_next(quick):
    async with connection() as (one, first, peer), connection() as (two, second, other_peer):
        heard, done = [], Deferred()

        def data_received(data):
            heard.append("event")
            quick.soon(lambda: heard.append("soon"))
            quick.soon(lambda: quick.soon(lambda: heard.append("sooner than the next turn")))
            reactor.callLater(0, done.callback, None) if not done.called else None
            first.dataReceived = second.dataReceived = lambda data: heard.append("event")

        first.dataReceived = second.dataReceived = data_received
        await say_in_one_turn((one, peer), (two, other_peer))
        await done
        assert heard == ["event", "event", "soon", "sooner than the next turn"]


@pytest_twisted.ensureDeferred
async def test_what_a_timer_wants_soon_does_not_wait_for_an_event(quick):
    done = Deferred()
    reactor.callLater(0, quick.soon, lambda: done.callback("done"))
    assert await done == "done"


@pytest_twisted.ensureDeferred
async def test_a_timer_that_is_set_at_the_end_of_a_turn_is_in_time(quick):
    done = Deferred()
    late = reactor.callLater(5, done.callback, "late")
    reactor.callLater(0, quick.soon, lambda: reactor.callLater(0.01, done.callback, "in time"))
    assert await done == "in time"
    late.cancel()


@pytest_twisted.ensureDeferred
async def test_a_bug_in_what_comes_soon_is_logged_and_the_rest_comes(quick, no_unseen_failures):
    done = Deferred()
    quick.soon(lambda: 1 / 0)
    quick.soon(lambda: done.callback("done"))
    assert await done == "done"
    assert [event["log_failure"].type for event in no_unseen_failures] == [ZeroDivisionError]
    no_unseen_failures.clear()


@pytest_twisted.ensureDeferred
async def test_before_the_start_and_after_the_end_what_is_to_come_soon_comes_on_a_timer():
    turns, done = Turns(reactor), [Deferred() for _ in range(3)]
    turns.soon(lambda: done[0].callback(0))
    assert await done[0] == 0
    turns.start()
    await deferLater(reactor, 0)
    turns.soon(lambda: done[1].callback(1))
    turns.stop()
    turns.soon(lambda: done[2].callback(2))
    assert [await each for each in done[1:]] == [1, 2]


def test_a_reactor_of_another_kind_or_changed_by_others_stays_as_it_is(quick):
    turn = reactor.doIteration
    another = Turns(reactor)
    another.start()
    another.stop()
    assert reactor.doIteration is turn
    for other in (Clock(), MemoryReactor()):
        before = dict(vars(other))
        Turns(other).start()
        assert vars(other) == before
