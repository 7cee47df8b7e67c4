"""Who may connect: each limit, its answer, and that what was admitted is given back once."""

from types import SimpleNamespace

import pytest

from twisted_relay.core.admission import Admission, Refused


def admission(per_address=True, **over):
    limits = {
        "max_conns_per_ip": 3,
        "max_connects_per_ip_per_min": 300,
        "max_total_connections": 100,
        "allowed_origins": None,
    } | over
    return Admission(SimpleNamespace(**limits), per_address)


def why(refusal):
    return refusal and refusal.why


def test_connections_of_one_address_are_bounded_at_once():
    door = admission()
    answers = [why(door.admit("a", None, False, 0.0)) for _ in range(4)]
    assert answers == [None, None, None, Refused.ADDRESS]
    assert door.admit("b", None, False, 0.0) is None


def test_a_released_place_can_be_had_again():
    door = admission(max_conns_per_ip=1)
    assert door.admit("a", None, False, 0.0) is None
    door.release("a")
    assert door.admit("a", None, False, 0.0) is None
    assert door.total == 1


def test_reconnecting_does_not_start_the_limit_of_an_address_anew():
    door = admission(max_connects_per_ip_per_min=5)
    for _ in range(5):
        assert door.admit("a", None, False, 0.0) is None
        door.release("a")
    refusal = door.admit("a", None, False, 0.0)
    assert (refusal.why, refusal.retry_after) == (Refused.RATE, 12)
    assert door.admit("a", None, False, 12.0) is None


def test_a_refused_connection_does_not_count_as_one_of_the_minute():
    door = admission(max_conns_per_ip=1, max_connects_per_ip_per_min=2)
    door.admit("a", None, False, 0.0)
    for _ in range(10):
        assert why(door.admit("a", None, False, 0.0)) is Refused.ADDRESS
    door.release("a")
    assert door.admit("a", None, False, 0.0) is None


def test_the_total_is_bounded_over_all_addresses():
    door = admission(max_total_connections=2)
    answers = [why(door.admit(key, None, False, 0.0)) for key in "abc"]
    assert answers == [None, None, Refused.CAPACITY]


def test_nobody_is_let_in_while_draining():
    assert why(admission().admit("a", None, True, 0.0)) is Refused.DRAINING


def test_any_origin_may_connect_unless_some_are_named():
    assert admission().admit("a", "https://anywhere.example", False, 0.0) is None


@pytest.mark.parametrize(
    ("origin", "answer"),
    [
        ("https://chat.example", None),
        ("https://evil.example", Refused.ORIGIN),
        ("https://chat.example.evil.example", Refused.ORIGIN),
        ("null", Refused.ORIGIN),
        (None, None),
    ],
)
def test_only_pages_of_a_named_origin_may_connect(origin, answer):
    door = admission(allowed_origins=("https://chat.example",))
    assert why(door.admit("a", origin, False, 0.0)) is answer


def test_a_refusal_takes_no_place():
    door = admission(allowed_origins=())
    door.admit("a", "https://evil.example", False, 0.0)
    assert door.total == 0


def test_without_counting_addresses_only_the_total_bounds():
    door = admission(per_address=False, max_conns_per_ip=1, max_total_connections=2)
    answers = [why(door.admit("a", None, False, 0.0)) for _ in range(3)]
    assert answers == [None, None, Refused.CAPACITY]
    door.release("a")
    assert door.total == 1


@pytest.mark.parametrize(
    ("refused", "status"),
    [
        (Refused.ORIGIN, 403),
        (Refused.DRAINING, 503),
        (Refused.CAPACITY, 503),
        (Refused.ADDRESS, 429),
        (Refused.RATE, 429),
    ],
)
def test_a_refusal_has_the_http_status_of_the_protocol(refused, status):
    assert refused.status == status
