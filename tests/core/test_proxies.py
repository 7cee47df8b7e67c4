"""Only a trusted peer is believed, and of what it says only what trusted proxies have added."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twisted_relay.core.proxies import MOST_PROXIES, Trust

PROXY, OTHER_PROXY = "198.51.100.1", "198.51.100.77"
CLIENT, STRANGER = "203.0.113.9", "192.0.2.66"
LISTED = Trust(("198.51.100.0/24", "2001:db8:1::/48"))


@pytest.mark.parametrize("header", [CLIENT, f"{STRANGER}, {CLIENT}", "10.0.0.1", "nonsense", None])
def test_trap_18_nobody_is_believed_by_default(header: str | None) -> None:
    for peer in ("127.0.0.1", "10.0.0.1", CLIENT, "::1", ""):
        assert Trust(False).client(peer, header) == peer


@pytest.mark.parametrize("header", [STRANGER, f"{STRANGER}, {PROXY}", "127.0.0.1", ""])
def test_trap_18_a_stranger_is_not_believed(header: str) -> None:
    assert Trust(True).client(CLIENT, header) == CLIENT
    assert LISTED.client(CLIENT, header) == CLIENT
    # Private, but not on the list.
    assert LISTED.client("10.0.0.1", header) == "10.0.0.1"


@pytest.mark.parametrize(
    ("header", "client"),
    [
        (CLIENT, CLIENT),
        # What the client itself sent stands on the left, and counts for nothing.
        (f"{STRANGER}, {CLIENT}", CLIENT),
        (f"nonsense, {CLIENT}", CLIENT),
        (f"127.0.0.1,{PROXY}, {CLIENT}", CLIENT),
        (f"{STRANGER}, {CLIENT}, {OTHER_PROXY}", CLIENT),
        (f"{CLIENT}, {OTHER_PROXY}, {OTHER_PROXY}", CLIENT),
        (f" {CLIENT} ,\t{OTHER_PROXY} ", CLIENT),
        (f"{CLIENT}:51234", CLIENT),
        ("[2001:db8:9::7]:443", "2001:db8:9::7"),
        ("[2001:db8:9::7]", "2001:db8:9::7"),
        ("2001:db8:9::7", "2001:db8:9::7"),
        ("2001:DB8:9:0:0::7", "2001:db8:9::7"),
        (f"::ffff:{CLIENT}", CLIENT),
        # Everybody named is a proxy: the farthest one.
        (OTHER_PROXY, OTHER_PROXY),
        (f"{OTHER_PROXY}, {PROXY}", OTHER_PROXY),
    ],
)
def test_trap_18_the_rightmost_address_that_is_not_trusted_counts(header: str, client: str) -> None:
    for peer in (PROXY, "2001:db8:1::5", f"::ffff:{PROXY}"):
        assert LISTED.client(peer, header) == client


@pytest.mark.parametrize(
    "header",
    [
        "",
        " ",
        ",",
        "nonsense",
        "unknown",
        f"{CLIENT}, nonsense",
        f"{CLIENT},",
        f"{CLIENT}, , {OTHER_PROXY}",
        f'for="{CLIENT}"',
        f"{CLIENT};",
        "1.2.3",
        "1.2.3.4.5",
        "999.1.1.1",
        f"{CLIENT}:port",
        "\x00",
        "²03.0.113.9",
    ],
)
def test_a_header_that_is_garbage_leaves_the_peer(header: str) -> None:
    assert LISTED.client(PROXY, header) == PROXY


def test_a_list_of_proxies_without_end_leaves_the_peer() -> None:
    proxies = ", ".join([OTHER_PROXY] * (MOST_PROXIES - 1))
    assert LISTED.client(PROXY, f"{CLIENT}, {proxies}") == CLIENT
    assert LISTED.client(PROXY, f"{CLIENT}, {proxies}, {OTHER_PROXY}") == PROXY
    assert LISTED.client(PROXY, ("::1," * 5000) + CLIENT) == CLIENT


@pytest.mark.parametrize(
    "peer",
    [
        *("127.0.0.1", "127.8.8.8", "::1", "10.1.2.3", "172.16.0.1", "172.31.255.255"),
        *("192.168.7.7", "fd00::5", "fe80::1%eth0", "169.254.1.1", "::ffff:10.0.0.1", ""),
    ],
)
def test_true_trusts_loopback_and_private_networks(peer: str) -> None:
    assert Trust(True).covers(peer)
    assert Trust(True).client(peer, CLIENT) == CLIENT


@pytest.mark.parametrize(
    "peer",
    [
        *("8.8.8.8", "172.15.0.1", "172.32.0.1", "192.169.0.1", "100.64.0.1", "0.0.0.0"),  # noqa: S104
        *("2001:db8::1", "::", "::ffff:8.8.8.8", "64:ff9b::a00:1", "nonsense"),
    ],
)
def test_true_trusts_nobody_else(peer: str) -> None:
    assert not Trust(True).covers(peer)


@given(
    st.ip_addresses().map(str),
    st.lists(st.one_of(st.ip_addresses().map(str), st.text(max_size=12)), max_size=6),
)
def test_whatever_comes_before_the_clients_own_address_changes_nothing(
    client: str, forged: list[str]
) -> None:
    header = ",".join([*forged, client])
    found = LISTED.client(PROXY, header)
    if not LISTED.covers(client):
        mapped = getattr(ipaddress.ip_address(client), "ipv4_mapped", None)
        assert found == str(mapped or ipaddress.ip_address(client))
