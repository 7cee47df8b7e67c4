"""A reload: all is checked before anything is swapped."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.logger import globalLogPublisher

from twisted_relay.core.bus import Envelope
from twisted_relay.core.settings import Loaded, Settings, SettingsError, load_settings
from twisted_relay.core.tokens import Claims, TokenSigner
from twisted_relay.engine.seal import Seal
from twisted_relay.shell.reload import Reload, on_hangup


class Files:
    """Stands for the certificates."""

    fault: Exception | None = None
    taken_up = 0

    def prepare(self) -> Callable[[], None]:
        if self.fault is not None:
            raise self.fault
        return self._swap

    def _swap(self) -> None:
        self.taken_up += 1


class World:
    """A reload with everything around it faked, and what it logged."""

    def __init__(self) -> None:
        self.env: dict[str, str] = {}
        self.fault: SettingsError | None = None
        self.certificates = Files()
        self.in_force: list[Settings] = []
        self.events: list[dict[str, Any]] = []
        self.reload = Reload(
            self.read(), self.read, self.in_force.append, lambda: self.certificates
        )

    def read(self) -> Loaded:
        if self.fault is not None:
            raise self.fault
        return load_settings(self.env)

    def lines(self, name: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event.get("event") == name]


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    globalLogPublisher.addObserver(made.events.append)
    yield made
    globalLogPublisher.removeObserver(made.events.append)


def test_settings_and_certificates_are_taken_up_together(world: World) -> None:
    world.env["MAX_CONNS_PER_IP"] = "3"
    assert world.reload()
    assert [each.admission.max_conns_per_ip for each in world.in_force] == [3]
    assert world.certificates.taken_up == 1
    [line] = world.lines("reloaded")
    assert line["setting"] == "MAX_CONNS_PER_IP"


def test_a_certificate_that_cannot_be_used_leaves_the_settings_alone(world: World) -> None:
    world.env["MAX_CONNS_PER_IP"] = "3"
    world.certificates.fault = SettingsError("TLS_CERT_FILE", "it is empty", "a certificate")
    assert not world.reload()
    assert world.in_force == []
    [line] = world.lines("reload_refused")
    assert line["fault"] == "TLS_CERT_FILE: it is empty; allowed is a certificate"
    assert line["setting"] == "TLS_CERT_FILE"
    world.certificates.fault = None
    assert world.reload()
    assert len(world.in_force) == 1


def test_a_value_that_cannot_be_used_leaves_the_certificates_alone(world: World) -> None:
    world.env["MAX_CONNS_PER_IP"] = "none"
    assert not world.reload()
    assert world.certificates.taken_up == 0
    assert world.lines("reloaded") == []


def test_what_waits_for_a_restart_is_named_each_time_and_a_notice_once(world: World) -> None:
    world.env |= {"PORT": "1", "JOIN_TOKEN_SECRET": "change-me-change-me-change-me-change-me"}
    for _ in range(2):
        assert world.reload()
    assert [line["setting"] for line in world.lines("restart_needed")] == ["PORT", "PORT"]
    assert [line["setting"] for line in world.lines("settings")] == ["JOIN_TOKEN_SECRET"]
    assert len(world.in_force) == 1


@pytest_twisted.ensureDeferred
async def test_a_hangup_is_heard_in_a_turn_of_the_reactor_until_undone() -> None:
    before = signal.getsignal(signal.SIGHUP)
    heard: Deferred[None] = Deferred()
    undo = on_hangup(reactor, lambda: heard.callback(None))
    try:
        os.kill(os.getpid(), signal.SIGHUP)
        await heard.addTimeout(10, reactor)
    finally:
        undo()
    assert signal.getsignal(signal.SIGHUP) is before


@pytest_twisted.ensureDeferred
async def test_in_another_thread_signals_are_left_alone() -> None:
    before = signal.getsignal(signal.SIGHUP)
    undo = await deferToThread(on_hangup, reactor, lambda: None)
    undo()
    assert signal.getsignal(signal.SIGHUP) is before


def test_tokens_and_seals_go_by_other_keys() -> None:
    signer = TokenSigner(b"one", (), os.urandom)
    claims = Claims("a-room-of-ours", 10, "once")
    old = signer.sign(claims)
    signer.change(b"two", (b"one",))
    assert signer.sign(claims) != old
    assert signer.verify(old, "a-room-of-ours", 5) == claims
    seal, other = Seal([b"1" * 32]), Seal([b"1" * 32, b"2" * 32])
    seal.change([b"2" * 32, b"1" * 32])
    assert other.open("room", seal.close("room", Envelope("lease", 7, ()))) is not None
    assert seal.open("room", other.close("room", Envelope("lease", 8, ()))) is not None
