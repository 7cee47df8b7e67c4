"""The private attributes of Twisted and Autobahn that are used are there, and mean the same."""

import pytest
from autobahn.websocket.protocol import WebSocketProtocol
from twisted.internet import abstract, tcp

from twisted_relay.shell import autobahn_state
from twisted_relay.shell.versions import counts_unsent, misfit


def test_the_installed_versions_are_as_expected():
    assert misfit() is None
    assert counts_unsent()


@pytest.mark.parametrize("name", ["_tempDataBuffer", "_tempDataLen", "dataBuffer", "offset"])
def test_a_twisted_without_its_buffers_is_not_as_expected(monkeypatch, name):
    made = abstract.FileDescriptor.__init__

    def without(self, reactor=None):
        made(self, reactor)
        self.__dict__.pop(name, None)

    monkeypatch.setattr(abstract.FileDescriptor, "__init__", without)
    monkeypatch.delattr(abstract.FileDescriptor, name, raising=False)
    assert "Twisted" in misfit()
    assert not counts_unsent()


@pytest.mark.parametrize(
    "name", ["disconnecting", "_aborting", "TLS", "_writeDisconnecting", "producer"]
)
def test_a_twisted_without_one_of_its_states_is_not_as_expected(monkeypatch, name):
    for kind in tcp.Server.__mro__:
        if name in vars(kind):
            monkeypatch.delattr(kind, name)
    assert "Twisted" in misfit()


def test_a_twisted_that_sends_otherwise_is_not_as_expected(monkeypatch):
    monkeypatch.setattr(abstract.FileDescriptor, "write", lambda self, data: None)
    assert "Twisted" in misfit()


def test_an_autobahn_that_keeps_its_state_otherwise_is_not_as_expected(monkeypatch):
    received = WebSocketProtocol._dataReceived

    def renamed(self, data):
        received(self, data)
        if hasattr(self, "inside_message"):
            self.is_inside = self.inside_message
            self.inside_message = False

    monkeypatch.setattr(WebSocketProtocol, "_dataReceived", renamed)
    assert "Autobahn" in misfit()


def test_an_autobahn_without_its_mask_is_not_as_expected(monkeypatch):
    monkeypatch.delattr(autobahn_state.xormasker, "create_xor_masker")
    assert "Autobahn" in misfit()
