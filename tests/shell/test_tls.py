"""TLS of the relay's own, from outside: what it speaks, who comes in, and how it is renewed."""

from __future__ import annotations

import contextlib
import datetime
import os
import socket
import ssl
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from certificates import Authority, Issued
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ed25519, rsa, x25519
from OpenSSL.crypto import X509
from twisted.internet import reactor
from twisted.internet.ssl import Certificate, trustRootFromCertificates
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.internet.threads import deferToThread
from twisted.logger import globalLogPublisher
from twisted.protocols.tls import TLSMemoryBIOFactory
from waiting import PATIENCE, until

from twisted_relay.client import RelayClient
from twisted_relay.client.events import Lost, Message
from twisted_relay.core.settings import SettingsError, load_settings
from twisted_relay.shell.certificates import TlsFiles
from twisted_relay.shell.service import RelayService
from twisted_relay.shell.tls import (
    TICKET_KEY_SECONDS,
    WATCH_SECONDS,
    ServerTls,
    certificates_of_old,
)

HOST = "localhost"
V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
# Twisted's own use of pyOpenSSL, on the side of the client in these tests.
pytestmark = pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")


class Secure:
    """A relay that speaks TLS, the files it has its certificate from, and what it logged."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.authority = Authority()
        self.issued = self.authority.issue(HOST)
        self.cert, self.key = self.issued.write(folder)
        self.events: list[dict[str, Any]] = []
        files = {"TLS_CERT_FILE": str(self.cert), "TLS_KEY_FILE": str(self.key)}
        where = {"HOST": "127.0.0.1", "PORT": "0"}
        self.service = RelayService(load_settings(where | files | settings))

    @property
    def tls(self) -> ServerTls:
        assert self.service.tls is not None
        return self.service.tls

    @property
    def port(self) -> int:
        assert self.service.port is not None
        number: int = self.service.port.getHost().port
        return number

    def watch(self, event: dict[str, Any]) -> None:
        if event.get("log_namespace", "").startswith("twisted_relay"):
            self.events.append(event)

    def said(self, name: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event.get("event") == name]

    def context(self, client: Issued | None = None, folder: Path | None = None) -> ssl.SSLContext:
        """A client's context that trusts the authority."""
        context = ssl.create_default_context(cadata=self.authority.issued.pem.decode())
        if client is not None and folder is not None:
            cert, key = client.write(folder, "client-")
            context.load_cert_chain(cert, key)
        return context

    async def ask(self, context: ssl.SSLContext | None = None, **options: Any) -> Seen:
        return await deferToThread(ask, self.port, context or self.context(), **options)

    async def shown(self) -> int:
        """The serial number of the certificate that newcomers see."""
        return (await self.ask()).serial


class Seen:
    """One HTTP call over TLS, and what the connection was like."""

    def __init__(self, connection: ssl.SSLSocket) -> None:
        connection.sendall(b"GET /live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        self.answer = b""
        while more := connection.recv(65536):
            self.answer += more
        self.status = self.answer.split(b" ")[1] if self.answer else b""
        self.version = connection.version()
        self.cipher = (connection.cipher() or ("",))[0]
        self.protocol = connection.selected_alpn_protocol()
        self.session = connection.session
        self.resumed = connection.session_reused
        der = connection.getpeercert(binary_form=True) or b""
        self.serial = ssl_serial(der)


def ssl_serial(der: bytes) -> int:
    from cryptography import x509

    return x509.load_der_x509_certificate(der).serial_number if der else 0


def ask(port: int, context: ssl.SSLContext, session: Any = None) -> Seen:
    """Blocking: for a thread."""
    with (
        socket.create_connection(("127.0.0.1", port), PATIENCE) as plain,
        context.wrap_socket(plain, server_hostname=HOST, session=session) as connection,
    ):
        return Seen(connection)


@pytest_twisted.async_yield_fixture
async def secure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Callable[..., Secure]]:
    monkeypatch.setattr("twisted_relay.shell.tls.WATCH_SECONDS", 0.05)
    started: list[Secure] = []

    def make(**settings: str) -> Secure:
        made = Secure(tmp_path, **settings)
        globalLogPublisher.addObserver(made.watch)
        made.service.startService()
        started.append(made)
        return made

    yield make
    for made in started:
        await made.service.stopService()
        globalLogPublisher.removeObserver(made.watch)


Start = Callable[..., Secure]


# What it speaks.


@pytest.mark.parametrize("version", [V12, V13])
@pytest_twisted.ensureDeferred
async def test_tls_1_2_and_1_3_with_forward_secrecy(secure: Start, version: ssl.TLSVersion) -> None:
    relay = secure()
    context = relay.context()
    context.minimum_version = context.maximum_version = version
    seen = await relay.ask(context)
    assert seen.status == b"200"
    assert seen.version == version.name.replace("_", ".")
    assert seen.cipher.startswith("ECDHE-" if version is V12 else "TLS_")
    # HSTS goes by whether the connection is secure.
    assert b"Strict-Transport-Security" in seen.answer


@pytest.mark.parametrize(
    ("versions", "ciphers"),
    [
        ((ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1), "ALL:@SECLEVEL=0"),
        ((V12, V12), "ECDHE-ECDSA-AES128-SHA:ECDHE-ECDSA-AES128-SHA256:@SECLEVEL=0"),
        ((V12, V12), "kRSA:DHE:@SECLEVEL=0"),
        ((V12, V12), "aNULL:eNULL:@SECLEVEL=0"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_older_versions_and_weaker_ciphers_are_refused(
    secure: Start, versions: tuple[Any, Any], ciphers: str
) -> None:
    relay = secure()
    context = relay.context()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version, context.maximum_version = versions
    context.set_ciphers(ciphers)
    with pytest.raises(ssl.SSLError, match="alert"):
        await relay.ask(context)


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [(["h2", "http/1.1"], "http/1.1"), (["http/1.1"], "http/1.1"), (["h2"], None), ([], None)],
)
@pytest_twisted.ensureDeferred
async def test_http_1_1_alone_is_negotiated(
    secure: Start, offered: list[str], chosen: str | None
) -> None:
    relay = secure()
    context = relay.context()
    context.set_alpn_protocols(offered)
    seen = await relay.ask(context)
    assert (seen.status, seen.protocol) == (b"200", chosen)


@pytest.mark.parametrize("version", [V12, V13])
@pytest_twisted.ensureDeferred
async def test_a_session_is_resumed(secure: Start, version: ssl.TLSVersion) -> None:
    relay = secure()
    context = relay.context()
    context.minimum_version = context.maximum_version = version
    first = await relay.ask(context)
    assert not first.resumed
    assert first.session.has_ticket
    assert (await relay.ask(context, session=first.session)).resumed
    # Read again, and the same: tickets stay good. Another certificate: they do not.
    assert relay.tls.reload()
    assert (await relay.ask(context, session=first.session)).resumed
    relay.authority.issue(HOST).write(relay.cert.parent)
    assert relay.tls.reload()
    again = await relay.ask(context, session=first.session)
    assert (again.status, again.resumed) == (b"200", False)


@pytest_twisted.ensureDeferred
async def test_a_chain_leads_to_an_authority_that_is_trusted(secure: Start) -> None:
    relay = secure()
    between = Authority("between", Authority("above", relay.authority))
    between.issue(HOST).write(relay.cert.parent)
    assert relay.tls.reload()
    assert (await relay.ask()).status == b"200"


@pytest_twisted.ensureDeferred
async def test_what_is_no_tls_ends_without_ado(secure: Start) -> None:
    relay = secure()

    def plain() -> bytes:
        with socket.create_connection(("127.0.0.1", relay.port), PATIENCE) as connection:
            connection.sendall(b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n")
            with contextlib.suppress(ConnectionError):
                return connection.recv(100)
            return b""

    assert b"HTTP" not in await deferToThread(plain)
    assert not [event for event in relay.events if "log_failure" in event]


def test_a_handshake_that_is_not_finished_has_a_deadline(
    tmp_path: Path, clocked_channel: Any
) -> None:
    clock, channel, _ = clocked_channel
    tls = ServerTls(TlsFiles(*Authority().issue(HOST).write(tmp_path)), clock)
    factory = TLSMemoryBIOFactory(tls, False, channel.site, clock)
    protocol: Any = factory.buildProtocol(None)
    transport: Any = StringTransport()
    transport.setTcpNoDelay = lambda on: None
    protocol.makeConnection(transport)
    clock.advance(9.9)
    assert not transport.disconnecting
    clock.advance(0.2)
    assert transport.disconnecting


# Who comes in.


@pytest.mark.parametrize("version", [V12, V13])
@pytest_twisted.ensureDeferred
async def test_with_an_authority_of_clients_only_its_clients_come_in(
    secure: Start, tmp_path: Path, version: ssl.TLSVersion
) -> None:
    clients = Authority("clients")
    ca = tmp_path / "ca.pem"
    ca.write_bytes(clients.issued.pem + Authority("other clients").issued.pem)
    relay = secure(TLS_CLIENT_CA_FILE=str(ca))
    known, stranger = clients.issue("ada"), Authority("somebody").issue("eve")
    for client in (None, stranger, clients.issue("late", hours=-1)):
        context = relay.context(client, tmp_path)
        context.minimum_version = context.maximum_version = version
        with pytest.raises(OSError, match=r"alert|reset|EOF"):
            await relay.ask(context)
    context = relay.context(known, tmp_path)
    context.minimum_version = context.maximum_version = version
    first = await relay.ask(context)
    assert first.status == b"200"
    again = await relay.ask(context, session=first.session)
    assert (again.status, again.resumed) == (b"200", True)
    # Others are the authority now: neither certificate nor ticket lets anybody in.
    ca.write_bytes(Authority("new clients").issued.pem)
    assert relay.tls.reload()
    for session in (None, first.session):
        with pytest.raises(OSError, match=r"alert|reset|EOF"):
            await relay.ask(context, session=session)


# How it is renewed.


@pytest.mark.parametrize("fast_path", ["true", "false"])
@pytest_twisted.ensureDeferred
async def test_a_renewed_certificate_is_taken_up_and_no_connection_ends(
    secure: Start, fast_path: str
) -> None:
    relay = secure(FAST_PATH=fast_path)
    root = Certificate(X509.from_cryptography(relay.authority.issued.certificate))
    heard: list[Any] = []
    client = RelayClient(
        f"wss://{HOST}:{relay.port}/ws",
        heard.append,
        reactor=reactor,
        trust_root=trustRootFromCertificates([root]),
    )
    await client.create()
    await client.say("YmVmb3Jl")
    renewed = relay.authority.issue(HOST)
    # As certbot does: what a link leads to is replaced.
    renewed.write(relay.cert.parent, "new-")
    for path in (relay.cert, relay.key):
        os.replace(path.with_name(f"new-{path.name}"), path)
    await until(lambda: len(relay.said("certificate")) == 2)
    assert await relay.shown() == renewed.certificate.serial_number
    await client.say("YWZ0ZXI")
    said = [event.ciphertext for event in heard if isinstance(event, Message)]
    assert said == ["YmVmb3Jl", "YWZ0ZXI"]
    assert not any(isinstance(event, Lost) for event in heard)
    await client.leave()
    assert not relay.said("certificate_refused")


@pytest_twisted.ensureDeferred
async def test_when_the_certificate_expires_is_a_metric(secure: Start) -> None:
    relay = secure()

    def expiry() -> float:
        [family] = [each for each in relay.service.metrics.collect() if "expiry" in each.name]
        assert family.name == "tls_certificate_expiry_timestamp_seconds"
        return float(family.samples[0].value)

    assert expiry() == relay.issued.certificate.not_valid_after_utc.timestamp()
    renewed = relay.authority.issue(HOST, hours=0.5)
    renewed.write(relay.cert.parent)
    assert relay.tls.reload()
    assert expiry() == renewed.certificate.not_valid_after_utc.timestamp()


def mismatch(relay: Secure) -> None:
    relay.cert.write_bytes(relay.authority.issue(HOST).chain)


def half_a_certificate(relay: Secure) -> None:
    relay.cert.write_bytes(relay.authority.issue(HOST).chain[:300])


def half_a_chain(relay: Secure) -> None:
    relay.cert.write_bytes(relay.issued.chain + relay.authority.issued.pem[:300])


def half_a_key(relay: Secure) -> None:
    relay.key.write_bytes(relay.issued.key_pem[:100])


def no_key(relay: Secure) -> None:
    relay.key.unlink()


def a_passphrase(relay: Secure) -> None:
    relay.key.write_bytes(relay.issued.key_in(serialization.BestAvailableEncryption(b"secret")))


def expired(relay: Secure) -> None:
    relay.authority.issue(HOST, hours=-1).write(relay.cert.parent)


BROKEN = [
    (mismatch, "TLS_KEY_FILE"),
    (half_a_certificate, "TLS_CERT_FILE"),
    (half_a_chain, "TLS_CERT_FILE"),
    (half_a_key, "TLS_KEY_FILE"),
    (no_key, "TLS_KEY_FILE"),
    (a_passphrase, "TLS_KEY_FILE"),
    (expired, "TLS_CERT_FILE"),
]


@pytest.mark.parametrize(("spoil", "setting"), BROKEN)
@pytest_twisted.ensureDeferred
async def test_a_broken_renewal_keeps_the_old_one_and_says_so_once(
    secure: Start, spoil: Callable[[Secure], None], setting: str
) -> None:
    relay = secure()
    spoil(relay)
    await until(lambda: relay.said("certificate_refused"))
    assert await relay.shown() == relay.issued.certificate.serial_number
    with pytest.raises(SettingsError):
        relay.tls.prepare()
    [said] = relay.said("certificate_refused")
    assert said["log_level"].name == "error"
    assert said["setting"] == setting
    mended = relay.authority.issue(HOST)
    mended.write(relay.cert.parent)
    assert relay.tls.reload()
    assert await relay.shown() == mended.certificate.serial_number


class Watched:
    """A certificate on a clock that the test turns."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.clock, self.authority = folder, Clock(), Authority()
        self.files = TlsFiles(*self.authority.issue(HOST).write(folder))
        self.now = datetime.datetime.now(datetime.UTC)
        self.tls = ServerTls(self.files, self.clock, lambda: self.now)
        self.tls.start()

    @property
    def context(self) -> Any:
        return self.tls.serverConnectionForTLS(None).get_context()

    def look(self) -> None:
        self.clock.advance(WATCH_SECONDS)


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    made = Watched(tmp_path)
    yield made
    made.tls.stop()
    assert not made.clock.getDelayedCalls()


def test_a_renewal_between_whose_files_somebody_looks_is_no_fault(watched: Watched) -> None:
    said: list[Any] = []
    globalLogPublisher.addObserver(said.append)
    try:
        before, renewed = watched.context, watched.authority.issue(HOST)
        watched.files.cert.write_bytes(renewed.chain)
        watched.look()
        watched.files.key.write_bytes(renewed.key_pem)
        watched.look()
        assert watched.context is before
        watched.look()
        assert watched.context is not before
    finally:
        globalLogPublisher.removeObserver(said.append)
    assert [event["event"] for event in said] == ["certificate"]


def test_a_link_that_leads_elsewhere_is_a_change(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        Authority().issue(HOST).write(tmp_path / name)
    link = tmp_path / "live"
    link.symlink_to("one")
    clock = Clock()
    tls = ServerTls(TlsFiles(link / "cert.pem", link / "key.pem"), clock)
    tls.start()
    before = tls.serverConnectionForTLS(None).get_context()
    link.unlink()
    link.symlink_to("two")
    clock.pump([WATCH_SECONDS] * 2)
    assert tls.serverConnectionForTLS(None).get_context() is not before
    tls.stop()


def test_tickets_get_another_key_each_day(watched: Watched) -> None:
    before = watched.context
    watched.clock.pump([TICKET_KEY_SECONDS - 1, WATCH_SECONDS])
    assert watched.context is before
    watched.clock.pump([WATCH_SECONDS, WATCH_SECONDS])
    assert watched.context is not before


def test_an_expired_one_gives_way_to_another_expired_one(watched: Watched) -> None:
    watched.now += datetime.timedelta(days=2)
    before = watched.context
    watched.authority.issue(HOST).write(watched.folder)
    assert watched.tls.reload()
    assert watched.context is not before


# What stops the start.


@pytest.mark.parametrize(("spoil", "setting"), [pair for pair in BROKEN if pair[0] is not expired])
def test_files_that_cannot_be_used_stop_the_start(
    tmp_path: Path, spoil: Callable[[Any], None], setting: str
) -> None:
    class Files:
        authority = Authority()
        issued = authority.issue(HOST)
        cert, key = issued.write(tmp_path)

    spoil(Files)
    with pytest.raises(SettingsError) as caught:
        ServerTls(TlsFiles(Files.cert, Files.key), Clock())
    assert str(caught.value).startswith(f"{setting}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [None, b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_an_authority_of_clients_that_cannot_be_used_stops_the_start(
    tmp_path: Path, content: bytes | None
) -> None:
    ca = tmp_path / "ca.pem"
    if content is not None:
        ca.write_bytes(content)
    files = TlsFiles(*Authority().issue(HOST).write(tmp_path), ca)
    with pytest.raises(SettingsError, match=r"^TLS_CLIENT_CA_FILE: "):
        ServerTls(files, Clock())


@pytest.mark.parametrize("kind", ["DSA", "X25519", "RSA of 1024 bits"])
def test_kinds_of_keys_that_no_client_would_take_stop_the_start(tmp_path: Path, kind: str) -> None:
    issued = Authority().issue(HOST, key=OTHER_KEYS[kind]())
    with pytest.raises(SettingsError, match=r"^TLS_(CERT|KEY)_FILE: .*"):
        ServerTls(TlsFiles(*issued.write(tmp_path)), Clock())


OTHER_KEYS: dict[str, Callable[[], Any]] = {
    "DSA": lambda: dsa.generate_private_key(2048),
    "X25519": x25519.X25519PrivateKey.generate,
    "RSA of 1024 bits": lambda: rsa.generate_private_key(65537, 1024),  # noqa: S505 - that is the point
}


@pytest.mark.parametrize("kind", ["RSA", "Ed25519"])
@pytest_twisted.ensureDeferred
async def test_other_kinds_of_keys(secure: Start, kind: str) -> None:
    relay = secure()
    key: Any = ed25519.Ed25519PrivateKey.generate()
    if kind == "RSA":
        key = rsa.generate_private_key(65537, 2048)
    relay.authority.issue(HOST, key=key).write(relay.cert.parent)
    assert relay.tls.reload()
    assert (await relay.ask()).status == b"200"


def test_certificate_and_key_may_be_one_file(tmp_path: Path) -> None:
    issued = Authority("below", Authority()).issue(HOST)
    both = tmp_path / "both.pem"
    both.write_bytes(b"A line for people\n" + issued.key_pem + issued.chain)
    ServerTls(TlsFiles(both, both), Clock())


@pytest_twisted.ensureDeferred
async def test_certificates_of_an_old_deployment_switch_nothing_on_and_the_cure_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trap 38: TLS was switched on by the presence of a file."""
    folder = tmp_path / "server/certs"
    folder.mkdir(parents=True)
    (folder / "cert.pem").write_bytes(b"anything")
    monkeypatch.chdir(tmp_path)
    service = RelayService(load_settings({"HOST": "127.0.0.1", "PORT": "0"}))
    said: list[Any] = []
    globalLogPublisher.addObserver(said.append)
    try:
        service.startService()
        assert service.tls is None
        [warning] = [event for event in said if event.get("event") == "no_tls"]
        assert warning["log_level"].name == "warn"
        assert "TLS_CERT_FILE" in warning["log_format"]
        await service.stopService()
    finally:
        globalLogPublisher.removeObserver(said.append)
    for tls in (
        {"TLS_CERT_FILE": "c", "TLS_KEY_FILE": "k"},
        {"RELAY_ENDPOINTS": "haproxy:ssl:443:privateKey=k"},
    ):
        assert certificates_of_old(load_settings(tls).settings.listen) is None
