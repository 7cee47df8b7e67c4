"""What of a Redis URL is understood, and that no fault shows a part of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twisted_relay.core.redis_url import RedisAddress, parse_redis_url


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("redis://here", RedisAddress("redis", "here", 6379)),
        ("redis://here:7000/", RedisAddress("redis", "here", 7000)),
        ("REDIS://here:7000/3", RedisAddress("redis", "here", 7000, database=3)),
        ("rediss://here/2", RedisAddress("rediss", "here", 6379, database=2)),
        ("redis://10.0.0.7:1/0", RedisAddress("redis", "10.0.0.7", 1)),
        ("redis://[::1]:7000/1", RedisAddress("redis", "::1", 7000, database=1)),
        ("redis://:word@here", RedisAddress("redis", "here", 6379, password="word")),
        (
            "redis://ann:word@here",
            RedisAddress("redis", "here", 6379, username="ann", password="word"),
        ),
        (
            "rediss://a%40b:%3A%2f%3F%23%40%25%C3%A9+@here",
            RedisAddress("rediss", "here", 6379, username="a@b", password=":/?#@%é+"),
        ),
        ("redis://:@here", RedisAddress("redis", "here", 6379)),
        ("redis://ann:@here", RedisAddress("redis", "here", 6379, username="ann", password="")),
        ("redis://here?db=4", RedisAddress("redis", "here", 6379, database=4)),
        (
            "redis://old:old@here/1?db=2&username=new&password=n%26w",
            RedisAddress("redis", "here", 6379, username="new", password="n&w", database=2),
        ),
        ("unix:///run/redis.sock", RedisAddress("unix", path="/run/redis.sock")),
        (
            "unix://localhost/run/r%20s.sock?db=5",
            RedisAddress("unix", path="/run/r s.sock", database=5),
        ),
        (
            "unix://ann:word@/run/redis.sock?db=1",
            RedisAddress(
                "unix", path="/run/redis.sock", username="ann", password="word", database=1
            ),
        ),
    ],
)
def test_what_is_understood(text: str, address: RedisAddress) -> None:
    assert parse_redis_url(text) == address


@pytest.mark.parametrize(
    "text",
    [
        "hunter2",
        "http://hunter2@here",
        "redis://",
        "redis:///1",
        "redis://:hunter2@",
        "redis://:hunter2@here:port",
        "redis://:hunter2@here:0",
        "redis://:hunter2@here:70000",
        "redis://:hunter2@[::1",
        "redis://:hunter2@here/one",
        "redis://:hunter2@here/-1",
        "redis://:hunter2@here/99999999999",
        "redis://:hunter2@here/1/hunter2",
        "redis://hunter2@here",
        "redis://:hunter2%ff@here",
        "redis://:hunt er2@here",
        "redis://:hunter2\n@here",
        "redis://:hunter2#x@here",
        "redis://:x#hunter2@here",
        "redis://:hunter2/x@here",
        "redis://user:hunter2/x@here",
        "redis://:x?hunter2@here",
        "redis://:hunter2@here#",
        "redis://here?hunter2=1",
        "redis://here?db=1&db=2",
        "redis://here?db=hunter2",
        "redis://here?password=%ffhunter2",
        "unix://run/hunter2.sock",
        "unix:///",
        "unix://",
    ],
)
def test_what_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_redis_url(text)
    said = str(caught.value)
    assert said
    assert "\n" not in said
    assert "hunter2" not in said
    assert caught.value.__cause__ is None


def test_the_password_is_not_shown() -> None:
    assert "hunter2" not in repr(parse_redis_url("redis://ann:hunter2@here"))


@given(st.text())
def test_any_text_is_an_address_or_a_value_error(text: str) -> None:
    for before in ("", "redis://", "unix://"):
        try:
            parse_redis_url(before + text)
        except ValueError as fault:
            assert type(fault) is ValueError
