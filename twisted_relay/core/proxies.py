"""Who the client is, where a proxy stands in front and says for whom it asks.

A header is only a claim of whoever sent it. So X-Forwarded-For counts only from a peer that the
operator trusts, and in it only what trusted proxies have added: each appends the address that it
was asked from, so the list is read from its end, up to the first address that is none of theirs.
"""

from __future__ import annotations

import ipaddress
import re

from twisted_relay.core.addresses import parse_address

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

#: What TRUST_PROXY=true means. Loopback, private use (RFC 1918, RFC 4193) and link-local.
PRIVATE: tuple[str, ...] = (
    "127.0.0.0/8",
    "::1/128",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "fc00::/7",
    "169.254.0.0/16",
    "fe80::/10",
)
MOST_PROXIES = 16
"""A header that names more proxies in a row than this is believed no further."""

#: Some proxies add the port: 192.0.2.7:443, [2001:db8::7]:443.
_WITH_PORT = re.compile(r"(?:(\d+\.\d+\.\d+\.\d+)|\[([^\]]*)\]):\d{1,5}", re.ASCII)


class Trust:
    """The peers whose word about their clients counts.

    Args:
        proxies: TRUST_PROXY: False for nobody, True for `PRIVATE`, or networks in CIDR form.

    A peer without an address came over a UNIX socket, to which the file system says who may: it
    is trusted wherever anybody is.
    """

    def __init__(self, proxies: bool | tuple[str, ...]) -> None:
        networks = (PRIVATE if proxies else ()) if isinstance(proxies, bool) else proxies
        self._networks: tuple[Network, ...] = tuple(map(ipaddress.ip_network, networks))

    def covers(self, peer: str) -> bool:
        """Tell whether ``peer``, an address or empty for a UNIX socket, is trusted."""
        if not self._networks:
            return False
        if not peer:
            return True
        found = parse_address(peer)
        return found is not None and any(found in network for network in self._networks)

    def client(self, peer: str, forwarded: str | None) -> str:
        """Return the client's address.

        Args:
            peer: who is connected.
            forwarded: X-Forwarded-For, all of its lines joined by commas; None if there is none.

        Returns:
            The last address in the header that is not trusted itself; the first one if all are.
            ``peer`` if it is not trusted, or if what should be an address is none.
        """
        if forwarded is None or not self.covers(peer):
            return peer
        found = ""
        for item in reversed(forwarded.rsplit(",", MOST_PROXIES)[-MOST_PROXIES:]):
            found = _address(item)
            if not found:
                return peer
            if not self.covers(found):
                return found
        return found if forwarded.count(",") < MOST_PROXIES else peer


def _address(item: str) -> str:
    text = item.strip()
    ported = _WITH_PORT.fullmatch(text)
    if ported:
        text = ported[1] or ported[2]
    found = parse_address(text)
    return "" if found is None else str(found)
