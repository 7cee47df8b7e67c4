"""wss:// talks only to a relay whose certificate is for the host and from a known authority."""

import datetime
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from twisted.internet import reactor
from twisted.internet.ssl import Certificate, PrivateCertificate, trustRootFromCertificates

from twisted_relay.client import ConnectFailed, RelayClient
from twisted_relay.client.link import fetch_token

# Twisted's own use of pyOpenSSL, on the side of the server in these tests.
pytestmark = pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")


def certificate_for(host: str) -> PrivateCertificate:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = datetime.datetime.now(datetime.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    return PrivateCertificate.loadPEM(
        built.public_bytes(pem)
        + key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


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
