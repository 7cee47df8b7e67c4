"""The embedded store passes what every store must, and holds nothing that has expired."""

import pytest
from stand_ins import EPOCH_MS, room_limits
from store_contract import StoreContract
from twisted.internet.task import Clock

from twisted_relay.engine.interfaces import Entry, Registration
from twisted_relay.engine.memory_store import MemoryStore


class TestMemoryStore(StoreContract):
    @pytest.fixture(autouse=True)
    def _clock(self):
        self.clock = Clock()
        self.may_reap = True

    async def make_store(self, limits, lease_ms):
        store = MemoryStore(
            self.clock, self.now_ms, limits, reaps=lambda: self.may_reap, lease_ms=lease_ms
        )
        store.start()
        return store

    async def pass_time(self, seconds):
        self.clock.pump([0.1] * round(seconds * 10))

    def now_ms(self):
        return EPOCH_MS + int(self.clock.seconds() * 1000)

    def let_reap(self, allowed):
        self.may_reap = allowed


def make(**limits):
    clock = Clock()
    store = MemoryStore(clock, lambda: int(clock.seconds() * 1000), room_limits(**limits))
    store.start()
    return clock, store


def newcomer(number, expires_ms):
    return Entry(f"m{number}", f"h{number}", "lease", f"jti-{number}", expires_ms)


async def test_what_has_expired_is_dropped_without_anybody_asking():
    clock, store = make(key_ttl_ms=5_000)
    for number in range(100):
        await store.create(f"room-{number}", "", None, None)
        await store.join(f"room-{number}", newcomer(number, 2_000))
    clock.pump([1.0] * 12)
    assert len(store) == 0
    assert store._spent == set()
    assert store._spent_until == []


async def test_without_replay_protection_a_token_serves_again():
    clock = Clock()
    store = MemoryStore(clock, lambda: 0, room_limits(), refuse_replays=False)
    await store.create("room", "", None, None)
    for number in range(2):
        await store.join("room", Entry(f"m{number}", f"h{number}", "lease", "same", 1000))


async def test_a_stopped_store_keeps_no_timer():
    clock, store = make()
    await store.stop()
    assert clock.getDelayedCalls() == []


async def test_the_probes_are_told_that_the_embedded_store_is_in_use():
    _, store = make()
    assert store.status().kind == "embedded"
    assert store.status().ready


async def test_nothing_that_was_asked_happens_later():
    assert make()[1].settles_after == 0


async def test_alone_it_drops_no_lease_however_long_it_stood_still():
    clock, store = make()
    await store.create("room", "", Entry("first", "hold", "lease"), None)
    clock.advance(60)
    assert (await store.renew("room", "lease")).participants == 1


async def test_tokens_registered_again_and_again_do_not_add_up():
    _, store = make()
    known = Registration("lease", "", (), 0, spent=(("one", 2_000), ("other", 2_000)))
    for _ in range(100):
        await store.register("room", known)
    assert len(store._spent_until) == 2
