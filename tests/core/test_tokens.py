"""Join tokens: what is accepted, in which order faults are told, and that one spelling serves."""

import base64
import hashlib
import hmac
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twisted_relay.core.errors import Code, RelayError
from twisted_relay.core.tokens import Claims, TokenSigner, b64url

SECRET = b"k" * 32
OLD = b"o" * 32
ROOM = "roomroomroomroomroom12"


def signer(secret=SECRET, old=()):
    counter = iter(range(10**6))
    return TokenSigner(secret, old, lambda n: next(counter).to_bytes(n, "big"))


def refusal(token, room=ROOM, now=1000, by=None):
    with pytest.raises(RelayError) as caught:
        (by or signer()).verify(token, room, now)
    return caught.value.code


def handmade(payload, secret=SECRET):
    raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return b64url(raw) + "." + b64url(hmac.digest(secret, raw, hashlib.sha256))


def test_a_signed_token_says_what_was_signed():
    claims = Claims(ROOM, 2000, "jtijtijti")
    assert signer().verify(signer().sign(claims), ROOM, 2000) == claims


def test_the_payload_is_the_old_services_payload():
    head = signer().sign(Claims(ROOM, 2000, "jtijtijti")).partition(".")[0]
    payload = json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))
    assert payload == {"v": 1, "rid": ROOM, "exp": 2000, "jti": "jtijtijti"}


def test_a_foreign_payload_with_spaces_and_more_claims_is_checked_over_its_bytes_as_received():
    token = handmade({"exp": 2000, "v": 1, "jti": "x" * 22, "rid": ROOM, "more": [1]})
    assert signer().verify(token, ROOM, 1).jti == "x" * 22


def test_a_next_token_carries_member_generation_and_label():
    claims = Claims(ROOM, 2000, "j", "m" * 22, 7, "Änne")
    assert signer().verify(signer().sign(claims), ROOM, 1) == claims


@pytest.mark.parametrize(
    "token",
    ["", "abc", "a.b", "." * 50, "a" * 43, "*" * 20 + "." + "a" * 43, "a" * 3000 + "." + "a" * 43],
)
def test_what_is_no_token_is_told_apart_as_format(token):
    assert refusal(token) is Code.TOKEN_FORMAT


def test_a_signed_payload_that_is_no_token_is_a_format_fault():
    for payload in (
        b"\xff\xfe",
        b"[]",
        b"{}",
        b'{"v":2,"rid":"r","exp":1,"jti":"j"}',
        b"[" * 1000,
        {"v": 1, "rid": ROOM, "exp": "soon", "jti": "j"},
    ):
        assert refusal(handmade(payload)) is Code.TOKEN_FORMAT


def test_faults_are_told_in_the_order_mac_room_expiry():
    late = signer().sign(Claims("another room", 10, "j"))
    assert refusal(late, by=signer(b"x" * 32)) is Code.TOKEN_MAC
    assert refusal(late) is Code.TOKEN_ROOM_MISMATCH
    assert refusal(late, room="another room") is Code.TOKEN_EXPIRED


def test_trap_26_one_spelling_for_one_token():
    token = signer().sign(Claims(ROOM, 2000, "j"))
    head, _, tail = token.partition(".")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    # The last character of a 32-byte MAC carries four spare bits; lenient decoders ignore them.
    other = alphabet[alphabet.index(tail[-1]) ^ 1]
    for spelling in (
        token + "=",
        token + "\n",
        f"{head}.{tail[:-1]}{other}",
        " " + token,
        head + "==." + tail,
    ):
        assert refusal(spelling) is Code.TOKEN_FORMAT
    assert refusal(head + "." + b64url(bytes(32))) is Code.TOKEN_MAC


def test_trap_27_an_old_secret_still_verifies_and_no_longer_signs():
    token = signer(OLD).sign(Claims(ROOM, 2000, "j"))
    rotated = signer(SECRET, (OLD,))
    assert rotated.verify(token, ROOM, 1).rid == ROOM
    assert refusal(rotated.sign(Claims(ROOM, 2000, "j")), by=signer(OLD)) is Code.TOKEN_MAC
    assert refusal(token, by=signer(SECRET)) is Code.TOKEN_MAC


@given(st.text(max_size=200))
def test_no_text_does_more_than_be_refused(text):
    assert refusal(text) in (Code.TOKEN_FORMAT, Code.TOKEN_MAC)


@given(st.binary(max_size=90), st.data())
def test_a_changed_byte_is_noticed(room, data):
    token = signer().sign(Claims(ROOM, 2000, b64url(room) or "j"))
    at = data.draw(st.integers(0, len(token) - 1))
    letter = data.draw(st.sampled_from("ABCxyz019-_."))
    changed = token[:at] + letter + token[at + 1 :]
    if changed != token:
        assert refusal(changed) in (Code.TOKEN_FORMAT, Code.TOKEN_MAC)
