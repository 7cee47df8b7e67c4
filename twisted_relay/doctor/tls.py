"""The certificate that the relay, or the proxy before it, shows; and the files that it is to be."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import attrs
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)
from service_identity import VerificationError
from service_identity.cryptography import (
    verify_certificate_hostname,
    verify_certificate_ip_address,
)
from service_identity.exceptions import CertificateError
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHandshakeListener
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_relay.core.listening import ListenSettings
from twisted_relay.doctor.findings import TLS, Finding, fail, ok, skipped, warn
from twisted_relay.doctor.network import (
    AnyCertificate,
    Trust,
    Unreachable,
    endpoint_for,
    reason_of,
)
from twisted_relay.doctor.target import Target

DAYS_WARN, DAYS_FAIL = 30, 7
#: OpenSSL's X509_V_ERR_ numbers: not yet valid, expired. The dates are judged by themselves.
_DATES = frozenset({9, 10})
_OBJECTIONS = {
    18: "it is signed by itself",
    19: "its authority is none of those trusted here",
    20: "the certificate of its issuer is missing",
    21: "a certificate of its chain is missing",
}
_GOOD_VERSIONS = ("TLSv1.2", "TLSv1.3")
_RENEW = (
    "Renew the certificate where it is kept: in TLS_CERT_FILE, which a running relay takes up by"
    " itself, or in the proxy, which has to be reloaded."
)


@attrs.frozen
class Shown:
    """What a server showed: its certificate, OpenSSL's objections to it, and the version."""

    certificate: x509.Certificate
    objections: frozenset[int]
    version: str


async def look(reactor: Any, target: Target, trust: Trust, limit: float) -> Shown:
    """Shake hands, and part. Raises `Unreachable`."""
    tls = AnyCertificate(target.host, trust)
    shaken: Deferred[Any] = Deferred()
    factory = Factory.forProtocol(lambda: _Handshake(shaken))
    factory.noisy = False
    try:
        await endpoint_for(reactor, target, tls, limit).connect(factory)
        connection = await shaken.addTimeout(limit, reactor)
    except Exception as fault:  # whatever a socket or OpenSSL has to say
        raise Unreachable(reason_of(fault)) from fault
    certificate = connection.get_peer_certificate(as_cryptography=True)
    return Shown(certificate, frozenset(tls.objections), connection.get_protocol_version_name())


@implementer(IHandshakeListener)
class _Handshake(Protocol):
    def __init__(self, shaken: Deferred[Any]) -> None:
        self._shaken = shaken

    def handshakeCompleted(self) -> None:  # noqa: N802 - Twisted's
        transport: Any = self.transport
        if not self._shaken.called:
            self._shaken.callback(transport.getHandle())
        transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if not self._shaken.called:
            self._shaken.errback(reason)


NAMES = ("tls", "tls-name", "tls-expiry", "tls-trust")


def judge_tls(shown: Shown, target: Target, now: datetime.datetime) -> list[Finding]:
    """Version, name, dates and chain."""
    return [
        _version(shown.version),
        _name(shown.certificate, target),
        _expiry(shown.certificate, now),
        _trust(shown.objections),
    ]


def _version(version: str) -> Finding:
    if version in _GOOD_VERSIONS:
        return ok("tls", f"{version} is spoken")
    cure = "Let the proxy offer TLS 1.2 and 1.3 only; the relay itself speaks no other."
    return fail("tls", f"{version} is spoken, which protects no more", cure, TLS)


def _name(certificate: x509.Certificate, target: Target) -> Finding:
    name = "tls-name"
    try:
        if target.address is not None:
            verify_certificate_ip_address(certificate, target.host)
        else:
            verify_certificate_hostname(certificate, target.host)
    except (VerificationError, CertificateError):
        pass
    else:
        return ok(name, f"the certificate is for {target.host}")
    seen = f"the certificate is for {_names(certificate)}, and not for {target.host}"
    if target.loopback:
        return skipped(name, f"{seen}: give the public URL to have its name compared")
    cure = (
        "Get a certificate with this name in it (subjectAltName), or give clients the name that is"
        " in it. A proxy with several certificates may show another where the name is not sent."
    )
    return fail(name, seen, cure, TLS)


def _names(certificate: x509.Certificate) -> str:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return "no name"
    names: list[str] = [*found.get_values_for_type(x509.DNSName)]
    names += map(str, found.get_values_for_type(x509.IPAddress))
    return ", ".join(names[:5]) or "no name"


def _expiry(certificate: x509.Certificate, now: datetime.datetime) -> Finding:
    name, begins, ends = (
        "tls-expiry",
        certificate.not_valid_before_utc,
        certificate.not_valid_after_utc,
    )
    if begins > now:
        seen = f"the certificate is valid from {begins:%Y-%m-%d %H:%M} UTC on, and not yet"
        return fail(name, seen, "Look at this machine's clock, then at the certificate.", TLS)
    left = ends - now
    if left <= datetime.timedelta(0):
        return fail(name, f"the certificate expired at {ends:%Y-%m-%d %H:%M} UTC", _RENEW, TLS)
    days = left.days
    seen = f"the certificate expires at {ends:%Y-%m-%d %H:%M} UTC, in {days} days"
    if days < DAYS_FAIL:
        return fail(name, seen, _RENEW, TLS)
    if days < DAYS_WARN:
        return warn(name, seen, _RENEW, TLS)
    return ok(name, seen)


def _trust(objections: frozenset[int]) -> Finding:
    name, left = "tls-trust", objections - _DATES
    if not left:
        return ok(name, "the certificate's chain leads to an authority that is trusted here")
    seen = "the certificate's chain leads to no authority that is trusted here"
    cure = (
        "Put the certificates that lead to the authority behind the first one in the file (often"
        " named fullchain). For an authority of your own give --ca-file."
    )
    return fail(name, f"{seen} ({_OBJECTIONS.get(min(left), f'OpenSSL: {min(left)}')})", cure, TLS)


def judge_files(listen: ListenSettings, absent: str = "TLS_CERT_FILE is not set here") -> Finding:
    """TLS_CERT_FILE and TLS_KEY_FILE: readable, whole, and one the other's; else why there are
    none."""
    name = "tls-files"
    if listen.tls_cert_file is None or listen.tls_key_file is None:
        return skipped(name, absent)
    try:
        chain = x509.load_pem_x509_certificates(Path(listen.tls_cert_file).read_bytes())
        key: Any = load_pem_private_key(Path(listen.tls_key_file).read_bytes(), None)
        same = _public(chain[0]) == _public(key)
    except PermissionError:
        return skipped(name, "this user may not read them: run it as the user of the relay")
    except OSError as fault:
        seen = f"{str(fault.filename)!a}: {fault.strerror}"
        return fail(name, seen, "Name files that are there, and that the relay's user reads.", TLS)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        seen = "TLS_CERT_FILE or TLS_KEY_FILE holds no whole PEM, or the key has a passphrase"
        return fail(name, seen, "Put certificate chain and key there in PEM, in the clear.", TLS)
    if not same:
        seen = "TLS_KEY_FILE is not the key of the first certificate in TLS_CERT_FILE"
        return fail(name, seen, "Put the key there that the certificate was issued for.", TLS)
    expiry = _expiry(chain[0], datetime.datetime.now(datetime.UTC))
    return attrs.evolve(expiry, name=name, seen=f"in TLS_CERT_FILE, {expiry.seen}")


def _public(owner: Any) -> bytes:
    key = owner.public_key()
    return bytes(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
