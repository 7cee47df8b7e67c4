"""What a loop that is too busy, or stood still, leaves behind."""

from __future__ import annotations

import pytest
from twisted.internet.task import Clock

from twisted_relay.engine.histogram import Histogram
from twisted_relay.engine.lag import PERIOD, LoopLag


def test_a_punctual_loop_has_no_lag_and_a_late_one_has() -> None:
    clock, lags = Clock(), Histogram((0.1, 1.0))
    lag = LoopLag(clock, lags.observe)
    lag.start()
    clock.pump([PERIOD] * 3)
    assert lags.buckets() == [("0.1", 3.0), ("1.0", 3.0), ("+Inf", 3.0)]
    clock.advance(PERIOD + 0.7)
    assert lags.buckets() == [("0.1", 3.0), ("1.0", 4.0), ("+Inf", 4.0)]
    assert lags.total == pytest.approx(0.7)


def test_it_stops() -> None:
    clock = Clock()
    lag = LoopLag(clock, Histogram((0.1,)).observe)
    lag.stop()
    lag.start()
    lag.stop()
    assert clock.getDelayedCalls() == []
