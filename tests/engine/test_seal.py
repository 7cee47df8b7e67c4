"""What goes over the bus can be read, and made, by those alone who share the secret."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twisted_relay.core.bus import Envelope, Message, Occupant, Presence, Shown, Tell
from twisted_relay.engine import seal
from twisted_relay.engine.seal import Seal

KEY, OTHER = b"k" * 32, b"o" * 32
ROOM, LEASE = "a-room-of-22-characters", "instance.1f"
ITEMS = (
    Presence(
        7, 2, ("a.1", "b.1"), (Occupant("member", "Ann", 3),), ("member",), True, Tell.ALWAYS, True
    ),
    Message("MEDIA_MSG", "member", b"\x81\x02{}"),
    Shown("jti", 1_700_000_000_000),
)
SAID = Envelope(LEASE, 5, ITEMS)


def test_what_was_sealed_is_opened_again_with_all_that_it_says():
    assert Seal((KEY,)).open(ROOM, Seal((KEY,)).close(ROOM, SAID)) == SAID


def test_nothing_of_the_room_or_its_members_can_be_read_on_the_way():
    sealed = Seal((KEY,)).close(ROOM, SAID)
    for private in (ROOM, "Ann", "member", "jti"):
        assert private.encode() not in sealed


def test_another_key_opens_nothing():
    assert Seal((OTHER,)).open(ROOM, Seal((KEY,)).close(ROOM, SAID)) is None


def test_an_earlier_key_still_opens_and_no_longer_seals():
    assert Seal((OTHER, KEY)).open(ROOM, Seal((KEY,)).close(ROOM, SAID)) == SAID
    assert Seal((KEY,)).open(ROOM, Seal((OTHER, KEY)).close(ROOM, SAID)) is None


def test_nothing_can_be_moved_to_another_room():
    assert Seal((KEY,)).open("another-room", Seal((KEY,)).close(ROOM, SAID)) is None


@given(st.data())
def test_no_bit_can_be_changed(data):
    sealed = bytearray(Seal((KEY,)).close(ROOM, SAID))
    place = data.draw(st.integers(0, len(sealed) * 8 - 1))
    sealed[place // 8] ^= 1 << place % 8
    assert Seal((KEY,)).open(ROOM, bytes(sealed)) is None


@given(st.integers(0, 200))
def test_nothing_can_be_cut_off(size):
    sealed = Seal((KEY,)).close(ROOM, SAID)
    assert Seal((KEY,)).open(ROOM, sealed[: min(size, len(sealed) - 1)]) is None


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_without_an_error(data):
    assert Seal((KEY, OTHER)).open(ROOM, data) is None
    assert Seal((KEY, OTHER)).open(ROOM, b"\x01" + data) is None


@pytest.mark.parametrize(
    "items", [b"", b"\xc1", msgspec.msgpack.encode([["x", 1]]), b"\x91" * 5000]
)
def test_what_makes_no_sense_under_a_right_key_is_refused_without_an_error(items, monkeypatch):
    class Nonsense:
        def encode(self, _):
            return items

    monkeypatch.setattr(seal, "_encoder", Nonsense())
    sealed = Seal((KEY,)).close(ROOM, SAID)
    assert Seal((KEY,)).open(ROOM, sealed) is None


def test_no_two_envelopes_share_key_and_nonce():
    # AES-GCM tells all if they did: the same items under other numbers and leases look unlike.
    bodies = {
        Seal((KEY,)).close(ROOM, Envelope(lease, sequence, ITEMS))[-60:]
        for lease in ("a.1", "a.2", "b.1")
        for sequence in range(20)
    }
    assert len(bodies) == 60
