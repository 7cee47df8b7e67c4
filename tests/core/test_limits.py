"""Buckets: the burst, the rate, and no boundary at which twice the burst passes (trap 19)."""

from hypothesis import given
from hypothesis import strategies as st

from twisted_relay.core.limits import AddressBuckets, Bucket


def test_a_full_bucket_allows_its_burst_at_once_and_no_more():
    bucket = Bucket(5, 0.5, 0.0)
    assert [bucket.spend(1, 0.0) for _ in range(6)] == [True] * 5 + [False]


def test_a_bucket_has_no_boundary_at_which_a_second_burst_passes():
    bucket = Bucket(100, 10, 0.0)
    assert all(bucket.spend(1, 9.99) for _ in range(100))
    assert sum(bucket.spend(1, 10.01) for _ in range(100)) == 0
    assert sum(bucket.spend(1, 11.01) for _ in range(100)) == 10


def test_a_refusal_takes_nothing():
    bucket = Bucket(10, 1, 0.0)
    assert not bucket.spend(11, 0.0)
    assert bucket.spend(10, 0.0)


def test_an_idle_bucket_fills_no_further_than_its_burst():
    bucket = Bucket(3, 1, 0.0)
    assert not bucket.spend(4, 1e9)
    assert bucket.spend(3, 1e9)


def test_a_bucket_says_how_long_to_wait():
    bucket = Bucket(2, 0.5, 0.0)
    bucket.spend(2, 0.0)
    assert bucket.wait_seconds(1) == 2.0
    assert bucket.spend(1, 2.0)


@given(
    st.integers(1, 50),
    st.floats(0.1, 20.0),
    st.lists(st.tuples(st.floats(0, 5), st.integers(1, 10)), max_size=60),
)
def test_no_window_lets_more_through_than_the_burst_and_the_rate(burst, rate, steps):
    bucket, now, passed = Bucket(burst, rate, 0.0), 0.0, []
    for wait, amount in steps:
        now += wait
        if bucket.spend(amount, now):
            passed.append((now, amount))
    for first in range(len(passed)):
        total = 0
        for when, amount in passed[first:]:
            total += amount
            assert total <= burst + rate * (when - passed[first][0]) + 1e-6


def test_each_address_has_its_own_bucket():
    buckets = AddressBuckets(2)
    assert buckets.spend("a", 0.0) is None
    assert buckets.spend("a", 0.0) is None
    assert buckets.spend("a", 0.0) == 30.0
    assert buckets.spend("b", 0.0) is None


def test_a_refused_address_may_try_again_after_the_wait_that_it_was_told():
    buckets = AddressBuckets(1)
    buckets.spend("a", 0.0)
    wait = buckets.spend("a", 10.0)
    assert wait == 50.0
    assert buckets.spend("a", 10.0 + wait) is None


def test_an_address_that_was_idle_long_enough_is_forgotten():
    buckets = AddressBuckets(10)
    for number in range(1000):
        buckets.spend(f"a{number}", 0.0)
    for number in range(1000):
        buckets.spend("one", 3600.0 + number)
    assert len(buckets) == 1


def test_a_spent_bucket_is_not_forgotten_by_the_turnover_of_others():
    buckets = AddressBuckets(3)
    for _ in range(3):
        buckets.spend("busy", 0.0)
    for number in range(500):
        buckets.spend(f"other{number}", 0.1)
    assert buckets.spend("busy", 0.2) is not None
