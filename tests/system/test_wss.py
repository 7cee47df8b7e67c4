"""The relay over TLS of its own, from outside: a chat, a slow reader, a renewal, the end."""

from __future__ import annotations

import json
import signal
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from certificates import Authority
from cryptography import x509

EVERYTHING = {"MAX_MSGS_PER_10S": 1_000_000, "MAX_BYTES_PER_10S": 1_000_000_000}


class Wss:
    """A relay that speaks TLS, and who connects to it."""

    def __init__(self, wire: Any, folder: Path, **settings: object) -> None:
        self.wire = wire
        self.authority = Authority()
        self.folder = folder
        cert, key = self.authority.issue("localhost").write(folder)
        self.relay = wire.RelayProcess(
            folder, wait=False, TLS_CERT_FILE=cert.name, TLS_KEY_FILE=key.name, **settings
        )
        wire.poll(lambda: self.said("listening"), "a relay that listens")
        self.clients: list[Any] = []
        context = ssl.create_default_context(cadata=self.authority.issued.pem.decode())

        class Client(wire.Client):
            def _shake(self, *args: Any) -> None:
                self.socket = context.wrap_socket(self.socket, server_hostname="localhost")
                super()._shake(*args)

        self._client = Client

    def connect(self, **options: Any) -> Any:
        self.clients.append(self._client(self.relay.port, **options))
        return self.clients[-1]

    def said(self, event: str) -> list[dict[str, Any]]:
        # An error goes to the other stream.
        found = [*self.relay.events(), *self._errors()]
        return [line for line in found if line.get("event") == event]

    def _errors(self) -> Iterator[dict[str, Any]]:
        for line in self.relay.err.splitlines():
            yield json.loads(line)

    def serial(self) -> int:
        """Of the certificate that a newcomer is shown."""
        client = self.connect()
        shown = client.socket.getpeercert(binary_form=True)
        client.leave_cleanly()
        return x509.load_der_x509_certificate(shown).serial_number

    def stop(self) -> None:
        for client in self.clients:
            client.close()
        self.relay.stop()


@pytest.fixture
def wss(wire: Any, tmp_path: Path) -> Iterator[Callable[..., Wss]]:
    made: list[Wss] = []

    def make(**settings: object) -> Wss:
        made.append(Wss(wire, tmp_path, **settings))
        return made[-1]

    yield make
    for each in made:
        each.stop()


def test_a_chat_over_tls_until_the_relay_drains(wss: Callable[..., Wss]) -> None:
    server = wss(**EVERYTHING)
    ada, ben = server.connect(), server.connect()
    room = ada.create()
    ben.join(room["roomId"], room["qrToken"])
    ada.fence()
    sizes = (1, 100, 16_000, 16_400, 65_000)
    for size in sizes * 3:
        ada.say(room["roomId"], "A" * size)
    for member in (ada, ben):
        heard = [len(member.until("APP_MSG")["body"]["ciphertextB64"]) for _ in sizes * 3]
        assert heard == list(sizes * 3)
    server.relay.process.terminate()
    assert ada.close_reason() == (1012, "service restart")
    ben.close_reason()
    server.relay.process.wait(server.wire.patience)


def test_a_slow_reader_is_cut_at_the_configured_bound_over_tls_as_well(
    wss: Callable[..., Wss],
) -> None:
    server = wss(SLOW_CONSUMER_BUFFER_THRESHOLD=65536, **EVERYTHING)
    ada, stalled = server.connect(), server.connect(receive_buffer=65536)
    room = ada.create()
    stalled.join(room["roomId"], room["qrToken"])
    ada.fence()
    sent, gone = 0, False
    while not gone:
        assert sent < 16 * 2**20, "the bound is not the configured one"
        ada.say(room["roomId"], "A" * 60_000)
        sent += 60_000
        gone = any(frame["t"] == "SYSTEM_MSG" for frame in ada.fence())
    assert stalled.close_reason() == (1008, "slow consumer")
    ada.say(room["roomId"])
    ada.until("APP_MSG")


def test_sighup_takes_a_renewed_certificate_up_and_refuses_a_broken_one(
    wss: Callable[..., Wss],
) -> None:
    server = wss()
    poll, process = server.wire.poll, server.relay.process
    ada = server.connect()
    room = ada.create()
    first = server.serial()
    key = server.folder / "key.pem"
    whole = key.read_bytes()
    key.write_bytes(whole[:100])
    process.send_signal(signal.SIGHUP)
    poll(lambda: server.said("reload_refused"), "a reload that is refused")
    [refused] = server.said("reload_refused")
    assert (refused["level"], refused["setting"]) == ("error", "TLS_KEY_FILE")
    assert server.serial() == first
    renewed = server.authority.issue("localhost")
    renewed.write(server.folder)
    process.send_signal(signal.SIGHUP)
    poll(lambda: server.said("reloaded"), "a reload")
    assert server.serial() == renewed.certificate.serial_number
    ada.say(room["roomId"])
    ada.until("APP_MSG")
