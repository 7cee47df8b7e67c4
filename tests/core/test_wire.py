"""Frames: what is read, how bad input is answered, and what goes out."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twisted_relay.core import wire
from twisted_relay.core.errors import Code, RelayError

ROOM = "roomroomroomroomroom12"
ID = "frame-0001"


def frame(kind="PING", body=None, **over):
    return json.dumps({"v": 1, "t": kind, "id": ID, "body": body or {}} | over).encode()


def decode(payload, most=100):
    return wire.decode(payload, most)


def invalid(payload, most=100):
    with pytest.raises(wire.InvalidFrame) as caught:
        decode(payload, most)
    return caught.value


def unframed(data):
    assert data[0] == 0x81
    size, start = data[1], 2
    if size == 126:
        size, start = int.from_bytes(data[2:4], "big"), 4
    elif size == 127:
        size, start = int.from_bytes(data[2:10], "big"), 10
    assert len(data) == start + size
    return json.loads(data[start:])


def media(**over):
    return {
        "roomId": ROOM,
        "mime": "image/png",
        "size": 10,
        "chunkSize": 1024,
        "chunks": ["QUJD"],
    } | over


@pytest.mark.parametrize(
    ("kind", "body", "type_"),
    [
        ("ROOM_CREATE", {}, wire.RoomCreate),
        ("ROOM_CREATE", {"label": "Ann"}, wire.RoomCreate),
        ("JOIN_REQUEST", {"roomId": ROOM, "qrToken": "t" * 8}, wire.JoinRequest),
        (
            "JOIN_REQUEST",
            {"roomId": ROOM, "token": "t" * 2048, "label": "x" * 33},
            wire.JoinRequest,
        ),
        ("LEAVE", {"roomId": ROOM}, wire.Leave),
        ("APP_MSG", {"roomId": ROOM, "ciphertextB64": "QUJD"}, wire.AppMsg),
        ("MEDIA_MSG", media(), wire.MediaMsg),
        ("MEDIA_MSG", media(size="10", chunkSize="1024"), wire.MediaMsg),
        ("MEDIA_MSG", media(mediaId="m", part=0, parts=2), wire.MediaMsg),
        ("PING", {}, wire.Ping),
    ],
)
def test_every_frame_of_the_protocol_is_read(kind, body, type_):
    assert type(decode(frame(kind, body))) is type_


def test_unknown_fields_are_ignored():
    assert type(decode(frame("PING", {"x": [1]}, extra={"y": 2}))) is wire.Ping


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"1",
        b'"text"',
        b"nonsense",
        b'{"v":1,}',
        b"\xff\xfe",
        b"{}{}",
        b'{"v":2,"t":"PING"',
        b"[" * 100_000,
        b'{"a":' * 100_000,
    ],
)
def test_what_is_no_json_object_is_no_frame(payload):
    with pytest.raises(wire.NotAFrame):
        decode(payload)


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        (frame(v=2), "v"),
        (frame(v="1"), "v"),
        (frame("PONG"), "t"),
        (frame(id="short"), "id"),
        (frame(id="x" * 257), "id"),
        (frame(id=12345678), "id"),
        (frame(body=[1]), "body"),
        (b"{}", "t"),
        (frame("JOIN_REQUEST", {"roomId": "short", "token": "t" * 8}), "body.roomId"),
        (frame("JOIN_REQUEST", {"roomId": "r" * 129, "token": "t" * 8}), "body.roomId"),
        (frame("JOIN_REQUEST", {"roomId": ROOM, "token": "short"}), "body.token"),
        (frame("JOIN_REQUEST", {"roomId": ROOM, "qrToken": "t" * 2049}), "body.qrToken"),
        (frame("JOIN_REQUEST", {"roomId": ROOM}), "body.qrToken"),
        (frame("JOIN_REQUEST", {"token": "t" * 8}), "body.roomId"),
        (frame("APP_MSG", {"roomId": ROOM}), "body.ciphertextB64"),
        (frame("MEDIA_MSG", media(mime="m" * 129)), "body.mime"),
        (frame("MEDIA_MSG", media(size=0)), "body.size"),
        (frame("MEDIA_MSG", media(size="ten")), "body.size"),
        (frame("MEDIA_MSG", media(size="-1")), "body.size"),
        (frame("MEDIA_MSG", media(size="٣")), "body.size"),
        (frame("MEDIA_MSG", media(chunkSize=1023)), "body.chunkSize"),
        (frame("MEDIA_MSG", media(chunks=[])), "body.chunks"),
        (frame("MEDIA_MSG", media(chunks=["not base64!"])), "body.chunks"),
        (frame("ROOM_CREATE", {"label": 5}), "body.label"),
    ],
)
def test_a_json_object_that_is_no_valid_frame_is_told_which_field_is_wrong(payload, field):
    error = invalid(payload).error
    assert error.code is Code.INVALID_MESSAGE
    assert f"field {field} " in error.message


def test_an_invalid_frame_can_be_answered_by_its_id():
    assert invalid(frame("NONSENSE")).re == ID


def test_a_short_id_is_still_answered():
    assert invalid(frame(id="x")).re == "x"


@pytest.mark.parametrize("id", [5, None, "x" * 300, ""])
def test_an_illegible_id_is_not_repeated(id):
    assert invalid(frame(id=id)).re is None


def test_the_answer_quotes_nothing_that_the_client_sent():
    error = invalid(frame("SECRET_TYPE", {"roomId": "SECRET"})).error
    assert "SECRET" not in error.message


@pytest.mark.parametrize("text", ["A", "QUJD", "QUI=", "QQ==", "-_+/", "a" * 100])
def test_base64_and_base64url_pass_as_ciphertext(text):
    sent = decode(frame("APP_MSG", {"roomId": ROOM, "ciphertextB64": text}))
    assert sent.body.ciphertextB64 == text


@pytest.mark.parametrize("text", ["", "=", "==", "QQ===", "Q=Q", "a b", "a\nb", "ä", "a.b"])
def test_what_is_not_of_the_alphabet_is_no_ciphertext(text):
    fault = invalid(frame("APP_MSG", {"roomId": ROOM, "ciphertextB64": text}))
    assert (fault.error.code, fault.kind) == (Code.INVALID_MESSAGE, "APP_MSG")


def test_a_ciphertext_of_the_largest_size_passes_and_one_more_does_not():
    body = {"roomId": ROOM, "ciphertextB64": "a" * 100}
    assert decode(frame("APP_MSG", body), 100)
    fault = invalid(frame("APP_MSG", body), 99)
    assert (fault.error.code, fault.re) == (Code.CIPHERTEXT_TOO_LARGE, ID)


@pytest.mark.parametrize(
    "over", [{"size": 10_485_761}, {"size": "10485761"}, {"chunks": ["QUJD"] * 129}]
)
def test_media_over_the_bound_is_told_that_it_is_too_large(over):
    assert invalid(frame("MEDIA_MSG", media(**over))).error.code is Code.MEDIA_TOO_LARGE


def test_media_at_the_bound_passes():
    sent = decode(frame("MEDIA_MSG", media(size="10485760", chunks=["QUJD"] * 128)))
    assert sent.body.size == 10_485_760


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["roomId", "token", "label", "size", "chunks", "x"]), inner, max_size=4
        )
    ),
    max_leaves=10,
)


@given(
    st.one_of(
        st.binary(max_size=80),
        st.fixed_dictionaries(
            {},
            optional={
                "v": st.just(1) | JSON,
                "t": st.sampled_from(wire.CLIENT_TYPES) | JSON,
                "id": st.just(ID) | JSON,
                "body": JSON,
            },
        ).map(lambda value: json.dumps(value).encode("utf-8", "surrogatepass")),
    )
)
def test_whatever_comes_is_a_frame_or_one_of_the_two_refusals(payload):
    try:
        read = decode(payload)
    except wire.InvalidFrame as fault:
        wire.encode_error(fault.error, ID, fault.re)
    except wire.NotAFrame:
        return
    else:
        assert type(read).__struct_config__.tag in wire.CLIENT_TYPES


@pytest.mark.parametrize("digits", [400, 5_000])
def test_a_number_of_many_digits_is_refused_like_any_other_bad_field(digits):
    with pytest.raises((wire.InvalidFrame, wire.NotAFrame)):
        decode(frame("MEDIA_MSG", media()).replace(b'"size": 10', b'"size": ' + b"9" * digits))


def test_half_a_surrogate_pair_is_refused_as_it_could_not_be_sent_on():
    with pytest.raises((wire.InvalidFrame, wire.NotAFrame)):
        decode(frame("ROOM_CREATE", {"label": "\ud800"}))


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536])
def test_a_frame_of_any_size_is_one_final_unmasked_text_frame(size):
    data = wire.framed(b"x" * size)
    assert data[0] == 0x81
    assert data.endswith(b"x" * size)
    head = len(data) - size
    assert head == (2 if size < 126 else 4 if size < 65_536 else 10)
    assert not data[1] & 0x80


def test_a_frame_of_our_own_has_the_envelope_of_the_protocol():
    assert unframed(wire.encode("PONG", ID, {}, "their-id")) == {
        "v": 1,
        "t": "PONG",
        "id": ID,
        "re": "their-id",
        "body": {},
    }


def test_a_frame_that_answers_nothing_has_no_re():
    assert "re" not in unframed(wire.encode("HELLO", ID, {}))


def test_a_relayed_message_keeps_its_senders_id_and_says_who_sent_it():
    sent = decode(frame("APP_MSG", {"roomId": ROOM, "ciphertextB64": "QUJD", "evil": 1}, extra=1))
    assert unframed(wire.encode_app_msg(sent, "member")) == {
        "v": 1,
        "t": "APP_MSG",
        "id": ID,
        "body": {"roomId": ROOM, "ciphertextB64": "QUJD", "memberId": "member"},
    }


def test_relayed_media_carries_the_label_that_the_relay_knows_and_not_the_one_claimed():
    sent = decode(
        frame(
            "MEDIA_MSG",
            media(
                size="10", mediaId="m", part=0, parts=1, **{"from": "Mallory", "memberId": "forged"}
            ),
        )
    )
    relayed = unframed(wire.encode_media_msg(sent, "member", "Ann"))
    assert relayed["id"] == ID
    assert relayed["body"] == media(
        mediaId="m", part=0, parts=1, memberId="member", **{"from": "Ann"}
    )


def test_media_without_parts_is_relayed_without_them():
    body = unframed(wire.encode_media_msg(decode(frame("MEDIA_MSG", media())), "m", "Ann"))["body"]
    assert not {"mediaId", "part", "parts"} & set(body)


def test_an_error_says_its_code_whether_to_try_again_and_when():
    error = RelayError(Code.RATE_LIMITED, retry_after_ms=1500)
    assert unframed(wire.encode_error(error, ID, "their-id")) == {
        "v": 1,
        "t": "ERROR",
        "id": ID,
        "re": "their-id",
        "body": {
            "code": "ERR_RATE_LIMITED",
            "retryable": True,
            "message": error.message,
            "retryAfterMs": 1500,
        },
    }
