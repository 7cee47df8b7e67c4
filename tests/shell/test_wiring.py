"""Settings become objects that do nothing yet, and that later settings reach, each of them."""

import os

import pytest
from twisted.internet.testing import MemoryReactorClock

from twisted_relay.core.settings import SettingsError, load_settings
from twisted_relay.core.tokens import Claims
from twisted_relay.shell.wiring import Wiring

SECRETS = ("the-first-of-two-secrets-made-up-01", "the-other-of-two-secrets-made-up-02")


def wired(reactor=None, **settings):
    loaded = load_settings({"JOIN_TOKEN_SECRET": SECRETS[0]} | settings)
    return Wiring(loaded.settings, reactor or MemoryReactorClock(), os.urandom)


def test_nothing_runs_and_nothing_listens_before_the_start():
    reactor = MemoryReactorClock()
    wired(reactor)
    assert reactor.getDelayedCalls() == reactor.tcpServers == reactor.tcpClients == []


@pytest.mark.parametrize(
    ("settings", "sites"),
    [
        ({}, ["public"]),
        ({"RELAY_ENDPOINTS": "tcp:4001 tcp:4002"}, ["public", "public"]),
        ({"OPS_ENDPOINT": "tcp:4003:interface=127.0.0.1"}, ["public", "ops"]),
    ],
)
def test_each_door_leads_to_its_site(settings, sites):
    made = wired(**settings)
    names = {made.sites.public: "public", made.sites.ops: "ops"}
    assert [names[site] for _, site in made.doors] == sites


def test_an_endpoint_that_cannot_be_used_is_found_out_here():
    with pytest.raises(SettingsError, match="RELAY_ENDPOINTS"):
        wired(RELAY_ENDPOINTS="nonsense:1")


def test_the_fast_path_is_as_the_settings_ask():
    assert (wired().fast_path, wired(FAST_PATH="false").fast_path) == (True, False)
    assert wired(FAST_PATH="false").misfit is None


def test_every_part_goes_by_later_settings():
    made = wired()
    room, now_ms = "room-with-20-letters", 1_000
    claims = Claims(room, now_ms + 1, "a-token")
    token = made.signer.sign(claims)
    later = {
        "JOIN_TOKEN_SECRET": SECRETS[1],
        "JOIN_TOKEN_SECRETS_OLD": SECRETS[0],
        "MAX_WS_MSG_BYTES": "70000",
        "ALLOWED_ORIGINS": "https://page.example",
    }
    made.change(load_settings(later).settings)
    assert made.signer.verify(token, room, now_ms) == claims
    assert made.signer.sign(claims) != token
    assert made.factory.buildProtocol(None).maxMessagePayloadSize == 70000
    assert made.metrics.limits["max_ws_msg_bytes"] == 70000
    assert made.admission.admit("192.0.2.1", "https://other.example", False, 0.0) is not None
    assert made.admission.admit("192.0.2.1", "https://page.example", False, 0.0) is None
