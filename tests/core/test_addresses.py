"""One peer, one key; and no more of an address in a log than the operator chose."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twisted_relay.core.addresses import displayed, limit_key, parse_address


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("[2001:db8:1:2:3:4:5:6]", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("", "unknown"),
        ("/run/relay.sock", "unknown"),
    ],
)
def test_limit_key(address: str, key: str) -> None:
    assert limit_key(address) == key


@pytest.mark.parametrize(
    ("address", "mode", "shown"),
    [
        ("192.0.2.7", "truncated", "192.0.2.0/24"),
        ("::ffff:192.0.2.7", "truncated", "192.0.2.0/24"),
        ("192.0.2.7", "full", "192.0.2.7"),
        ("192.0.2.7", "none", None),
        ("2001:db8:1:2::7", "truncated", "2001:db8:1::/48"),
        ("2001:db8:1:2::7", "full", "2001:db8:1:2::7"),
        ("not an address\n", "full", "unknown"),
        ("not an address\n", "truncated", "unknown"),
    ],
)
def test_displayed(address: str, mode: str, shown: str | None) -> None:
    assert displayed(address, mode) == shown  # type: ignore[arg-type]


@given(st.ip_addresses(v=6), st.integers(0, 2**64 - 1))
def test_one_subscriber_has_one_key(address: ipaddress.IPv6Address, host: int) -> None:
    neighbour = ipaddress.IPv6Address(int(address) >> 64 << 64 | host)
    if address.ipv4_mapped is None and neighbour.ipv4_mapped is None:
        assert limit_key(str(address)) == limit_key(str(neighbour))


@given(st.ip_addresses())
def test_truncated_never_shows_the_whole(address: ipaddress.IPv4Address) -> None:
    shown = displayed(str(address), "truncated")
    assert shown is not None
    assert ipaddress.ip_network(shown).num_addresses >= 256


@given(st.text())
def test_no_text_breaks_it(text: str) -> None:
    key = limit_key(text)
    assert (key == "unknown") == (parse_address(text) is None)
