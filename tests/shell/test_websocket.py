"""Which frames without a message of their own are counted."""

from types import SimpleNamespace

import pytest

from twisted_relay.shell.websocket import RelayProtocol


@pytest.fixture
def connection():
    """An open connection whose pings go nowhere, and the frames of it that were counted."""
    counted = []
    protocol = RelayProtocol()
    protocol.state = RelayProtocol.STATE_OPEN
    protocol.failedByMe = False
    protocol.maxMessagePayloadSize = protocol.maxFramePayloadSize = 0
    protocol.sendPing = lambda payload=None: None
    protocol._client = object()
    protocol.factory = SimpleNamespace(
        relay=SimpleNamespace(admits_frame=lambda client: counted.append(client) or True)
    )
    return protocol, counted


def test_the_pong_that_answers_our_ping_is_free_and_any_other_is_counted(connection):
    protocol, counted = connection
    protocol.ping()
    protocol.onPong(b"")
    assert counted == []
    protocol.onPong(b"")
    assert len(counted) == 1


def test_the_first_fragment_of_a_message_is_free_and_each_further_one_is_counted(connection):
    protocol, counted = connection
    for expected in (2, 4):
        protocol.onMessageBegin(False)
        for _ in range(3):
            protocol.onMessageFrameBegin(0)
        assert len(counted) == expected
