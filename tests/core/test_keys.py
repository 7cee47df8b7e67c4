"""Derived keys: each for one purpose, the same on every instance, and of no use as another."""

from __future__ import annotations

import hashlib
import hmac
import itertools
import os

import pytest

from twisted_relay.core.bus import Envelope, Shown
from twisted_relay.core.errors import Code, RelayError
from twisted_relay.core.keys import address_key, bus_keys
from twisted_relay.core.tokens import TokenSigner, b64url
from twisted_relay.engine.seal import Seal

SECRET, FORMER = b"a-secret-made-up-for-these-tests-0001", b"a-secret-made-up-for-these-tests-0002"


def test_the_keys_are_the_documented_ones() -> None:
    assert bus_keys(SECRET, ()) == (hmac.digest(SECRET, b"twisted-relay bus v1", hashlib.sha256),)
    assert address_key(SECRET) == hmac.digest(SECRET, b"twisted-relay addresses v1", hashlib.sha256)


def test_no_key_is_another_nor_the_secret() -> None:
    keys = {*bus_keys(SECRET, (FORMER,)), address_key(SECRET), address_key(FORMER)}
    assert len(keys) == 4
    assert not keys & {SECRET, FORMER}
    assert {len(key) for key in keys} == {32}


def test_the_first_bus_key_is_of_the_secret_that_signs() -> None:
    assert bus_keys(SECRET, (FORMER,)) == (*bus_keys(SECRET, ()), *bus_keys(FORMER, ()))


def test_instances_believe_each_other_at_each_step_of_a_rotation() -> None:
    steps = [
        Seal(bus_keys(secret, old))
        for secret, old in (
            (FORMER, ()),
            (FORMER, (SECRET,)),
            (SECRET, (FORMER,)),
            (SECRET, ()),
        )
    ]
    said = Envelope("lease", 1, (Shown("qr", 1),))
    for before, after in itertools.pairwise(steps):
        assert after.open("room", before.close("room", said)) == said
        assert before.open("room", after.close("room", said)) == said
    assert steps[0].open("room", steps[2].close("room", said)) is None, "hence two steps"


@pytest.mark.parametrize("label", [b"twisted-relay bus v1", b"twisted-relay addresses v1"])
def test_a_derived_key_makes_no_join_token(label: bytes) -> None:
    token = f"{b64url(label)}.{b64url(hmac.digest(SECRET, label, hashlib.sha256))}"
    with pytest.raises(RelayError) as caught:
        TokenSigner(SECRET, (), os.urandom).verify(token, "r" * 22, 0)
    assert caught.value.code is Code.TOKEN_FORMAT
