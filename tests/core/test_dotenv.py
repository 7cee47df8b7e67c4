"""The ``.env`` syntax of the old service's loader."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twisted_relay.core.dotenv import DotenvError, parse_dotenv


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", {}),
        ("# only a comment", {}),
        ("A=1\nB=2", {"A": "1", "B": "2"}),
        ("A=1\nA=2\n", {"A": "2"}),
        ("A=\nB=2", {"A": "", "B": "2"}),
        ("A= # nothing\n", {"A": ""}),
        ("  export A = 1  \n", {"A": "1"}),
        ("A=a b # c\n", {"A": "a b"}),
        ("A=http://x/#y\n", {"A": "http://x/#y"}),
        ('A="x # y" # z\n', {"A": "x # y"}),
        ("A='$B \\n'\n", {"A": "$B \\n"}),
        ("A=`q`\n", {"A": "q"}),
        ('A="1\\n2\n3"\nB=4', {"A": "1\n2\n3", "B": "4"}),
        ('A="say \\"x\\""\n', {"A": 'say "x"'}),
        ("\ufeffA=1\r\nB=2\r\n", {"A": "1", "B": "2"}),
    ],
)
def test_what_is_read(text: str, found: dict[str, str]) -> None:
    assert parse_dotenv(text) == found


@pytest.mark.parametrize("bad", ["nonsense", "=1", "1A=2", 'A="open', "A='x'y", "A B=1"])
def test_a_bad_line_is_named_and_not_shown(bad: str) -> None:
    with pytest.raises(DotenvError) as caught:
        parse_dotenv(f"GOOD=1\n{bad}\n")
    assert str(caught.value) == "line 2 is not NAME=value"


@given(st.text(st.characters(exclude_characters="'\r", codec="utf-8")))
def test_single_quotes_keep_any_text(value: str) -> None:
    assert parse_dotenv(f"A='{value}'\nB=2") == {"A": value, "B": "2"}


@given(st.text("AB=\"'` #\\\n\r\tx"))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parse_dotenv(text)
    except DotenvError as error:
        assert error.line >= 1
