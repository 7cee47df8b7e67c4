"""Certificates for servers, and clients, that a test starts."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from twisted.internet.ssl import PrivateCertificate

PEM = serialization.Encoding.PEM


@dataclass
class Issued:
    """A certificate with its key, both in PEM; behind it, what leads to its authority."""

    certificate: x509.Certificate
    key: Any
    above: bytes = b""

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(PEM)

    @property
    def chain(self) -> bytes:
        return self.pem + self.above

    @property
    def key_pem(self) -> bytes:
        return self.key_in(serialization.NoEncryption())

    def key_in(self, encryption: serialization.KeySerializationEncryption) -> bytes:
        return self.key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, encryption)

    def write(self, folder: Path, name: str = "") -> tuple[Path, Path]:
        """Chain and key as files."""
        paths = folder / f"{name}cert.pem", folder / f"{name}key.pem"
        for path, content in zip(paths, (self.chain, self.key_pem), strict=True):
            path.write_bytes(content)
        return paths


class Authority:
    """Issues certificates, an hour old; is itself signed by another authority, or by nobody."""

    def __init__(self, name: str = "authority", above: Authority | None = None) -> None:
        self.issued = _issue(name, above.issued if above else None, is_authority=True, hours=2)
        if above is not None:
            self.issued.above = b"".join([] if above.is_root else [above.issued.chain])
        self.is_root = above is None

    def issue(self, name: str, hours: float = 1, key: Any = None) -> Issued:
        """A certificate for a host, or a person, that ends so many hours from now."""
        issued = _issue(name, self.issued, is_authority=False, hours=hours, key=key)
        issued.above = b"" if self.is_root else self.issued.chain
        return issued


def _issue(
    name: str, above: Issued | None, *, is_authority: bool, hours: float, key: Any = None
) -> Issued:
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    signer = above.key if above else key
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(above.certificate.subject if above else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=3))
        .not_valid_after(now + datetime.timedelta(hours=hours))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .sign(signer, hashes.SHA256())
    )
    return Issued(built, key)


def certificate_for(host: str) -> PrivateCertificate:
    """One for this host, of an hour's life, that is its own authority; with its key."""
    issued = _issue(host, None, is_authority=True, hours=1)
    return PrivateCertificate.loadPEM(issued.pem + issued.key_pem)
