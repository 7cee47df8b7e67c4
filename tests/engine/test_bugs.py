"""What surfaces of a bug: a count, and one line with the failure."""

from twisted.python.failure import Failure

from twisted_relay.engine.bugs import Bugs
from twisted_relay.engine.metrics import Metrics


def test_a_bug_is_counted_by_what_it_was_about_and_logged_once(no_unseen_failures):
    metrics = Metrics(0.0)
    for kind in ("PING", "renewal"):
        Bugs(metrics).surfaced(Failure(ZeroDivisionError()), kind)
    assert (metrics.unhandled_errors["PING"], metrics.unhandled_errors["other"]) == (1, 1)
    told = [(event["event"], event["log_failure"].type) for event in no_unseen_failures]
    assert told == [("unhandled_error", ZeroDivisionError)] * 2
    no_unseen_failures.clear()
