"""What every test has: a Hypothesis profile, and the watch for errors that nobody saw."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from twisted.logger import LogEvent, globalLogPublisher

# The machine may be busy: time is no property of the code under test.
settings.register_profile(
    "suite", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("suite")


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
