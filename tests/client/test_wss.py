"""wss:// talks only to a relay whose certificate is for the host and from a known authority."""

from collections.abc import Iterator
from typing import Any

import pytest
from certificates import certificate_for
from twisted.internet import reactor
from twisted.internet.ssl import Certificate, trustRootFromCertificates

from twisted_relay.client import ConnectFailed, RelayClient
from twisted_relay.client.link import fetch_token

# Twisted's own use of pyOpenSSL, on the side of the server in these tests.
pytestmark = pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")


@pytest.fixture
def secure(fake_relay: Any, request: pytest.FixtureRequest) -> Iterator[tuple[str, Any]]:
    """The miniature behind a certificate for the parametrized host: its address, its authority."""
    certificate = certificate_for(request.param)
    port = reactor.listenSSL(0, fake_relay, certificate.options(), interface="127.0.0.1")
    authority = Certificate(certificate.original)
    yield f"wss://localhost:{port.getHost().port}/ws", trustRootFromCertificates([authority])
    port.stopListening()


@pytest.mark.parametrize("secure", ["localhost"], indirect=True)
async def test_a_good_certificate(secure: tuple[str, Any]) -> None:
    url, authority = secure
    client = RelayClient(url, lambda event: None, reactor=reactor, trust_root=authority)
    assert (await client.create()).room_id == "room-room"
    await client.leave()


@pytest.mark.parametrize("secure", ["elsewhere.example"], indirect=True)
async def test_a_certificate_for_another_host(secure: tuple[str, Any]) -> None:
    url, authority = secure
    client = RelayClient(url, lambda event: None, reactor=reactor, trust_root=authority)
    with pytest.raises(ConnectFailed, match="certificate"):
        await client.create()
    with pytest.raises(ConnectFailed):
        await fetch_token(url, "room-room", reactor, authority)


@pytest.mark.parametrize("secure", ["localhost"], indirect=True)
async def test_a_certificate_of_an_unknown_authority(secure: tuple[str, Any]) -> None:
    client = RelayClient(secure[0], lambda event: None, reactor=reactor)
    with pytest.raises(ConnectFailed, match="certificate"):
        await client.create()
