"""What is put together is one relay: its parts hear of each other, and of no other relay's."""

import pytest
from stand_ins import SECRET, counted_bytes, room_limits, session_limits
from twisted.internet.task import Clock

from twisted_relay.core.tokens import TokenSigner
from twisted_relay.engine.assembly import make_relay
from twisted_relay.engine.memory_store import MemoryStore
from twisted_relay.engine.metrics import Metrics
from twisted_relay.engine.relay import Environment


class Bus:
    """Notes who listens."""

    up = True

    def __init__(self):
        self.owners = []

    def attach(self, owner):
        self.owners.append(owner)


def made(clock, **more):
    random_bytes = counted_bytes()
    environment = Environment(clock, lambda: 0, random_bytes, Metrics(0.0), "test/1")
    store = MemoryStore(clock, lambda: 0, room_limits())
    signer = TokenSigner(SECRET, (), random_bytes)
    return make_relay(
        environment, session_limits(), room_limits(), signer, 86_400_000, store, **more
    )


def test_what_is_put_together_does_nothing_before_it_is_started():
    clock = Clock()
    relay = made(clock)
    assert clock.getDelayedCalls() == []
    relay.start()
    assert clock.getDelayedCalls()
    relay.stop()
    assert clock.getDelayedCalls() == []


def test_the_bus_is_listened_to_before_the_start():
    bus = Bus()
    made(Clock(), bus=bus, bus_keys=(b"k" * 32,))
    assert len(bus.owners) == 1


@pytest.mark.parametrize(("cut_slow", "most"), [(True, 100_000), (False, None)])
def test_slow_clients_are_cut_only_where_that_is_asked_for(cut_slow, most):
    assert made(Clock(), cut_slow=cut_slow)._fanout.most_unsent == most


def test_two_relays_share_no_part():
    clock = Clock()
    one, other = made(clock), made(clock)
    parts = [value for name, value in vars(one).items() if hasattr(value, "__dict__")]
    others = set(map(id, vars(other).values()))
    shared = [part for part in parts if id(part) in others]
    assert shared == [clock]
