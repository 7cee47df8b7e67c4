"""wss:// talks only to a relay whose certificate is for the host and from a known authority."""

from collections.abc import Iterator
from typing import Any

import pytest
from certificates import Authority, certificate_for
from OpenSSL.crypto import X509
from twisted.internet import reactor
from twisted.internet.ssl import Certificate, PrivateCertificate, trustRootFromCertificates

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
    with pytest.raises(ConnectFailed, match="certificate"):
        await fetch_token(url, "room-room", reactor, authority)


@pytest.mark.parametrize("secure", ["localhost"], indirect=True)
async def test_a_certificate_of_an_unknown_authority(secure: tuple[str, Any]) -> None:
    client = RelayClient(secure[0], lambda event: None, reactor=reactor)
    with pytest.raises(ConnectFailed, match="certificate"):
        await client.create()


async def test_a_certificate_that_has_expired(fake_relay: Any) -> None:
    authority = Authority()
    late = authority.issue("localhost", hours=-1)
    options = PrivateCertificate.loadPEM(late.pem + late.key_pem).options()
    port = reactor.listenSSL(0, fake_relay, options, interface="127.0.0.1")
    root = Certificate(X509.from_cryptography(authority.issued.certificate))
    url = f"wss://localhost:{port.getHost().port}/ws"
    trust = trustRootFromCertificates([root])
    client = RelayClient(url, lambda event: None, reactor=reactor, trust_root=trust)
    try:
        with pytest.raises(ConnectFailed, match="certificate"):
            await client.create()
    finally:
        await port.stopListening()
