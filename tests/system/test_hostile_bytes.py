"""Odd and hostile input: floods of frames that are no messages, odd handshakes, texts, targets."""

import struct

import pytest

MASK = b"\x00\x00\x00\x00"
FLOODS = {
    "pings": b"\x89\x80" + MASK,
    "pongs": b"\x8a\x80" + MASK,
    "empty fragments": b"\x00\x80" + MASK,
}


@pytest.mark.parametrize("kind", FLOODS)
def test_a_flood_of_frames_that_are_no_messages_is_cut_off(start_relay, wire, kind):
    relay = start_relay(MAX_MSGS_PER_10S=50)
    client = relay.connect()
    if kind == "empty fragments":
        client.raw(b"\x01\x80" + MASK)
    client.raw(FLOODS[kind] * 60)
    assert client.close_reason() == (1008, "rate limit exceeded")
    assert relay.connect() is not None


def test_a_message_in_a_few_fragments_passes(relay, wire):
    client = relay.connect()
    text = b'{"v":1,"t":"PING","id":"in-pieces","body":{}}'
    pieces = [text[:10], text[10:20], text[20:]]
    for number, piece in enumerate(pieces):
        first = (0x80 if number == 2 else 0) | (0x01 if number == 0 else 0x00)
        client.raw(struct.pack("!BB", first, 0x80 | len(piece)) + MASK + piece)
    assert client.expect("PONG")["re"] == "in-pieces"


def test_half_a_surrogate_pair_in_a_label_is_an_error_and_no_close(relay, wire):
    client = relay.connect()
    client.text('{"v":1,"t":"ROOM_CREATE","id":"half-a-pair","body":{"label":"\\ud83d"}}')
    assert client.refused("half-a-pair") == "ERR_INVALID_MESSAGE"
    client.text('{"v":1,"t":"PING","id":"still-here","body":{},"n":' + "9" * 5000 + "}")
    assert client.next()["re"] == "still-here"
    client.text('{"v":1,"t":"PING","id":"not-json","body":{},"n":NaN}')
    assert client.close_reason() == (1003, "invalid message")


@pytest.mark.parametrize(
    ("wrong", "status"),
    [
        ({"Sec-WebSocket-Version": "7"}, 426),
        ({"Sec-WebSocket-Key": "zz"}, 400),
        ({"Connection": "close"}, 400),
    ],
)
def test_a_bad_handshake_is_answered_in_json_quotes_nobody_and_counts_as_no_connection(
    start_relay, wire, wrong, status
):
    relay = start_relay(MAX_CONNECTS_PER_IP_PER_MIN=2)
    for _ in range(5):
        with pytest.raises(wire.Refused) as refused:
            relay.connect(headers=wrong)
        answer = refused.value.answer
        assert answer.status == status
        assert set(answer.json) == {"code", "message"}
        assert "server" not in answer.headers
    assert relay.connect() is not None


def test_nothing_lies_below_the_websocket_path(relay):
    upgrade = {"Upgrade": "websocket", "Connection": "Upgrade, close"}
    assert relay.http("GET", "/ws/below", headers=upgrade).status == 404


def test_an_accept_header_of_odd_bytes_is_no_bug_of_ours(relay):
    assert (
        relay.http("GET", "/metrics", headers={"Accept": "application/json;q=\xb2"}).status == 200
    )
    assert not any(
        value for name, value in relay.metrics().items() if name.startswith("unhandled_errors{")
    )


def test_a_target_in_absolute_form_is_its_path(relay):
    # RFC 9112 section 3.2.2: a server must accept it.
    assert relay.http("GET", "http://relay.example/live").json["alive"] is True
    assert relay.http("GET", "live").status == 400


def test_an_accepted_handshake_does_not_name_the_server_software(relay):
    assert "server" not in relay.connect().handshake
