"""What the files of TLS hold: a certificate with its key, and whom clients' certificates are from.

TLS 1.2 and 1.3 only, with ciphers that keep earlier traffic secret when a key is lost, and sessions
that are resumed by tickets, so that nothing is kept for a client that may come back.
"""

from __future__ import annotations

import datetime
import os
import re
from pathlib import Path
from typing import Any

import attrs
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)
from OpenSSL import SSL
from OpenSSL.crypto import X509
from OpenSSL.crypto import Error as CryptoError

from twisted_relay.core.listening import ListenSettings
from twisted_relay.core.settings import SettingsError

CERT, KEY, CLIENT_CA = "TLS_CERT_FILE", "TLS_KEY_FILE", "TLS_CLIENT_CA_FILE"
_ALLOWED = {
    CERT: "a readable PEM file with the certificate first, then those that lead to its authority",
    KEY: "a readable PEM file with that certificate's private key, without a passphrase",
    CLIENT_CA: "a readable PEM file with the certificates of the authorities of clients",
}
# Each with a fresh key for each connection, and with integrity built in. Those of TLS 1.3 all are
# so. Which of them is fastest, the client knows best.
_CIPHERS = b"ECDHE+AESGCM:ECDHE+CHACHA20"
_HTTP = b"http/1.1"
_KEYS = (
    rsa.RSAPrivateKey,
    ec.EllipticCurvePrivateKey,
    ed25519.Ed25519PrivateKey,
    ed448.Ed448PrivateKey,
)
_BEGIN_CERTIFICATE = b"-----BEGIN CERTIFICATE-----"
_PRIVATE_KEY = re.compile(rb"-----BEGIN ([A-Z ]*PRIVATE KEY)-----.*?-----END \1-----", re.DOTALL)

TICKET_SECONDS = 4 * 3600
"""For how long a client may resume its session."""


@attrs.frozen
class TlsFiles:
    """Where certificate, key and, to ask clients for certificates, their authorities are."""

    cert: Path
    key: Path
    client_ca: Path | None = None

    @classmethod
    def of(cls, listen: ListenSettings) -> TlsFiles | None:
        """What the settings name, independent of the working directory; None without TLS."""
        if listen.tls_cert_file is None or listen.tls_key_file is None:
            return None
        ca = listen.tls_client_ca_file
        return cls(
            Path(listen.tls_cert_file).absolute(),
            Path(listen.tls_key_file).absolute(),
            None if ca is None else Path(ca).absolute(),
        )

    def state(self) -> tuple[object, ...]:
        """What changes when one of the files does, or what it links to."""
        found: list[object] = []
        for path in (self.cert, self.key, self.client_ca):
            if path is not None:
                try:
                    seen = os.stat(path)
                except OSError as fault:
                    found.append(fault.errno)
                else:
                    found.append((seen.st_mtime_ns, seen.st_ino, seen.st_dev, seen.st_size))
        return tuple(found)


@attrs.frozen
class Identity:
    """What the files hold, checked: who we are, and whom we ask for."""

    chain: tuple[x509.Certificate, ...]
    key: Any = attrs.field(repr=False)
    client_authorities: tuple[x509.Certificate, ...] = ()

    @classmethod
    def read(cls, files: TlsFiles) -> Identity:
        """Read the files.

        Raises:
            SettingsError: for the first one that cannot be used, in one line.
        """
        chain = _certificates(CERT, files.cert)
        key = _private_key(files.key)
        if _public(CERT, chain[0]) != _public(KEY, key):
            fault = f"{str(files.key)!a}: it is not the key of the first certificate in {CERT}"
            raise unusable(KEY, fault)
        ca = files.client_ca
        return cls(chain, key, () if ca is None else _certificates(CLIENT_CA, ca))

    @property
    def names(self) -> tuple[object, ...]:
        """Equal to those of another identity, if that is the same."""
        return self.chain, self.client_authorities

    @property
    def expires(self) -> datetime.datetime:
        """When the first certificate of the chain to do so expires."""
        return min(certificate.not_valid_after_utc for certificate in self.chain)

    def context(self) -> SSL.Context:
        """A context with this identity, and with a key for tickets that no other has.

        Raises:
            SettingsError: for what OpenSSL does not take, such as a key that is too short.
        """
        context = SSL.Context(SSL.TLS_METHOD)
        context.set_min_proto_version(SSL.TLS1_2_VERSION)
        context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION)
        context.set_mode(SSL.MODE_RELEASE_BUFFERS)
        context.set_cipher_list(_CIPHERS)
        context.set_alpn_select_callback(_choose_protocol)
        # Tickets alone: no memory for those who never come back.
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        context.set_session_id(b"twisted-relay")
        context.set_timeout(TICKET_SECONDS)
        name = CERT
        try:
            context.use_certificate(self.chain[0])
            for certificate in self.chain[1:]:
                context.add_extra_chain_cert(certificate)
            name = KEY
            context.use_privatekey(self.key)
            context.check_privatekey()
            name = CLIENT_CA
            self._ask_clients(context)
        except (SSL.Error, CryptoError, TypeError) as fault:
            raise unusable(name, f"OpenSSL does not take it: {_said_by_openssl(fault)}") from None
        return context

    def _ask_clients(self, context: SSL.Context) -> None:
        if not self.client_authorities:
            return
        store: Any = context.get_cert_store()
        for authority in self.client_authorities:
            store.add_cert(X509.from_cryptography(authority))
            context.add_client_ca(authority)
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT)


def unusable(name: str, fault: str) -> SettingsError:
    """The exception for a file that cannot be used."""
    return SettingsError(name, fault, _ALLOWED[name])


def _content(name: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (OSError, ValueError) as fault:
        why = getattr(fault, "strerror", None) or type(fault).__name__
        raise unusable(name, f"{str(path)!a}: {why}") from None


def _certificates(name: str, path: Path) -> tuple[x509.Certificate, ...]:
    content = _content(name, path)
    try:
        found = tuple(x509.load_pem_x509_certificates(content))
    except ValueError:
        found = ()
    # One that is cut off would be passed over.
    if not found or len(found) != content.count(_BEGIN_CERTIFICATE):
        raise unusable(name, f"{str(path)!a}: it does not hold whole certificates")
    return found


def _private_key(path: Path) -> Any:
    found = _PRIVATE_KEY.search(_content(KEY, path))
    if found is None:
        raise unusable(KEY, f"{str(path)!a}: there is no whole private key in it")
    try:
        key = load_pem_private_key(found[0], None)
    except TypeError:
        raise unusable(KEY, f"{str(path)!a}: the key has a passphrase") from None
    except (ValueError, UnsupportedAlgorithm):
        raise unusable(KEY, f"{str(path)!a}: the key cannot be read") from None
    if not isinstance(key, _KEYS):
        raise unusable(KEY, f"{str(path)!a}: no client takes a key of this kind")
    return key


def _public(name: str, owner: Any) -> bytes:
    try:
        key = owner.public_key()
    except (ValueError, UnsupportedAlgorithm):
        raise unusable(name, "its kind of key is not supported") from None
    return bytes(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def _choose_protocol(connection: SSL.Connection, offered: list[bytes]) -> Any:
    # HTTP/2 would break /ws: a WebSocket begins with HTTP/1.1 (RFC 6455).
    return _HTTP if _HTTP in offered else SSL.NO_OVERLAPPING_PROTOCOLS


def _said_by_openssl(fault: Exception) -> str:
    entries = fault.args[0] if fault.args and isinstance(fault.args[0], list) else []
    return ", ".join(str(entry[-1]) for entry in entries) or type(fault).__name__


def day(moment: datetime.datetime) -> str:
    """A moment, to the minute, for people."""
    return moment.strftime("%Y-%m-%d %H:%M UTC")
