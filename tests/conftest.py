"""What every test has: a Hypothesis profile, the watch for errors that nobody saw, a real Redis."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from twisted.logger import LogEvent, globalLogPublisher

_HERE = str(Path(__file__).parent)
if _HERE not in sys.path:
    sys.path.insert(0, _HERE)

from real_redis import RealRedis  # noqa: E402 - it is found by the line above

# The machine may be busy: time is no property of the code under test.
settings.register_profile(
    "suite", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("suite")


def pytest_collection_finish() -> None:
    """Called by pytest: what all tests share is garbage for none, so leave it out of the search."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def no_unseen_failures() -> Iterator[list[LogEvent]]:
    """Fail a test whose Deferreds fail with nobody listening, or that logs an unexpected failure.

    A test that brings a failure about takes it out of the list that this fixture yields.
    """
    seen: list[LogEvent] = []

    def watch(event: LogEvent) -> None:
        if "log_failure" in event:
            seen.append(event)

    globalLogPublisher.addObserver(watch)
    try:
        yield seen
        # An unhandled error in a Deferred is logged when the Deferred is collected.
        gc.collect()
    finally:
        globalLogPublisher.removeObserver(watch)
    assert not seen, [event["log_failure"] for event in seen]


@pytest.fixture
def start_redis() -> Iterator[Callable[..., RealRedis]]:
    """Starts Redis servers, with the arguments of `RealRedis`; they end with the test."""
    started: list[RealRedis] = []

    def start(*args: object, **options: object) -> RealRedis:
        started.append(RealRedis(*args, **options))
        return started[-1]

    yield start
    for server in started:
        server.stop()


@pytest.fixture
def redis_server(start_redis: Callable[..., RealRedis]) -> RealRedis:
    """A Redis server without a password."""
    return start_redis()
