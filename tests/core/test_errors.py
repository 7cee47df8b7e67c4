"""Errors and closes: the codes that clients were written against."""

import pytest

from twisted_relay.core.errors import Close, Code, RelayError

RETRYABLE = {
    "ERR_ROOM_FULL",
    "ERR_TOKEN_FORMAT",
    "ERR_TOKEN_MAC",
    "ERR_TOKEN_EXPIRED",
    "ERR_TOKEN_REPLAY",
    "ERR_RATE_LIMITED",
    "ERR_UNAVAILABLE",
}
FINAL = {
    "ERR_ALREADY_IN_ROOM",
    "ERR_NOT_IN_ROOM",
    "ERR_NO_ROOM",
    "ERR_TOKEN_ROOM_MISMATCH",
    "ERR_CIPHERTEXT_TOO_LARGE",
    "ERR_MEDIA_TOO_LARGE",
    "ERR_INVALID_MESSAGE",
    "ERR_ROOM_GONE",
}


def test_the_codes_are_those_of_the_protocol_and_no_others():
    assert {code.value for code in Code} == RETRYABLE | FINAL


@pytest.mark.parametrize("code", list(Code))
def test_each_code_says_whether_to_try_again_as_the_protocol_does(code):
    assert RelayError(code).retryable is (code.value in RETRYABLE)


@pytest.mark.parametrize("code", list(Code))
def test_each_code_comes_with_a_sentence_for_a_person(code):
    assert RelayError(code).message.endswith(".")


def test_an_error_may_name_its_own_sentence_and_a_time_to_wait():
    error = RelayError(Code.RATE_LIMITED, "Wait.", retry_after_ms=250)
    assert (error.message, error.retry_after_ms, str(error)) == ("Wait.", 250, "ERR_RATE_LIMITED")


@pytest.mark.parametrize(
    ("close", "code", "reason"),
    [
        (Close.INVALID_MESSAGE, 1003, "invalid message"),
        (Close.RATE_LIMIT, 1008, "rate limit exceeded"),
        (Close.SLOW_CONSUMER, 1008, "slow consumer"),
        (Close.PING_TIMEOUT, 1008, "ping timeout"),
        (Close.JOIN_TIMEOUT, 1008, "join timeout"),
        (Close.REPLACED, 1008, "replaced"),
        (Close.INTERNAL_ERROR, 1011, "internal error"),
        (Close.SERVICE_RESTART, 1012, "service restart"),
        (Close.TRY_AGAIN_LATER, 1013, "try again later"),
    ],
)
def test_a_close_has_the_code_and_the_reason_of_the_protocol(close, code, reason):
    assert (close.code, close.reason) == (code, reason)


def test_no_two_closes_share_a_metric():
    assert len({close.metric for close in Close}) == len(Close)
