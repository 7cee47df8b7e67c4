"""Frames, cipher, invites, waits and the outbox: what of the client needs no socket."""

import base64
import contextlib
import json

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from twisted_relay.client import frames
from twisted_relay.client.backoff import Backoff
from twisted_relay.client.chat import arguments
from twisted_relay.client.cipher import CipherError, RoomCipher, TextMessage, to_base64url
from twisted_relay.client.frames import FrameError
from twisted_relay.client.invite import Invite, InviteError
from twisted_relay.client.link import UrlError, check_url
from twisted_relay.client.outbox import Outbox, Outgoing, Repeats
from twisted_relay.client.terminal import harmless, pieces

KEY = bytes(range(32))
KEYS = st.binary(min_size=32, max_size=32)
URL_SAFE = st.text("abcXYZ019-_", min_size=8, max_size=128)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


@given(st.text("ABC_", min_size=1), URL_SAFE, st.dictionaries(TEXTS, TEXTS | st.integers(0, 9)))
def test_frames_round_trip(kind: str, frame_id: str, body: dict[str, object]) -> None:
    frame = frames.parse(frames.build(kind, body, frame_id))
    assert (frame.t, frame.id, frame.body, frame.re) == (kind, frame_id, body, None)


@given(st.binary())
def test_parsing_anything_gives_a_frame_or_a_frame_error(payload: bytes) -> None:
    with contextlib.suppress(FrameError):
        frames.parse(payload)


def test_a_frame_leaves_out_what_is_none_and_ignores_what_it_does_not_know() -> None:
    built = json.loads(frames.build("JOIN_REQUEST", {"label": None, "roomId": "r"}, "12345678"))
    assert built == {"v": 1, "t": "JOIN_REQUEST", "id": "12345678", "body": {"roomId": "r"}}
    frame = frames.parse(b'{"v":1,"t":"X","id":"i","body":{"n":1},"re":"r","new":[1]}')
    assert (frame.re, frame.number("n"), frame.number("m", 7)) == ("r", 1, 7)
    with pytest.raises(FrameError, match="roomId"):
        frame.text("roomId")


@pytest.mark.parametrize(
    "payload", [b"", b"[]", b"{}", b'{"t":1}', b'{"v":2,"t":"X"}', b"[" * 100_000, b'{"t":"\xff"}']
)
def test_what_is_no_frame_is_one_error(payload: bytes) -> None:
    with pytest.raises(FrameError):
        frames.parse(payload)


@given(KEYS, TEXTS, TEXTS, st.integers(0, 2**53))
def test_cipher_round_trip(key: bytes, sender: str, text: str, ts: int) -> None:
    message = TextMessage("a-message", ts, sender, text)
    assert RoomCipher(key).open_text(RoomCipher(key).seal_text(message)) == message


def test_the_ciphertext_is_the_old_web_clients_format() -> None:
    sealed = RoomCipher(KEY).seal_text(TextMessage("id-1", 5, "Ann", "hé"))
    assert "=" not in sealed
    assert not set(sealed) & set("+/")
    data = base64.urlsafe_b64decode(sealed + "=" * (-len(sealed) % 4))
    plain = AESGCM(KEY).decrypt(data[:12], data[12:], b"chat:v1")
    expected = {"type": "text", "id": "id-1", "ts": 5, "from": "Ann", "text": "hé"}
    assert json.loads(plain) == expected


def test_two_seals_of_one_text_differ() -> None:
    assert len({RoomCipher(KEY).seal(b"same") for _ in range(64)}) == 64


@pytest.mark.parametrize("text", ["", "AAAA", "é", "not base64!", "A", "A" * 100])
def test_what_cannot_be_decrypted_is_a_cipher_error(text: str) -> None:
    with pytest.raises(CipherError, match="cannot decrypt"):
        RoomCipher(KEY).open(text)


def test_a_wrong_key_says_so_and_keys_are_in_no_repr() -> None:
    sealed = RoomCipher(KEY).seal(b"secret")
    with pytest.raises(CipherError, match="another room key"):
        RoomCipher(bytes(32)).open(sealed)
    with pytest.raises(CipherError, match="32 bytes"):
        RoomCipher(b"short")
    assert repr(KEY) not in repr(RoomCipher(KEY)) + repr(Invite("roomroom", KEY))


def test_another_kind_of_message_is_not_text() -> None:
    for plain in (b'{"type":"image"}', b"\xff", b"[]", b'{"type":"text","id":1}'):
        with pytest.raises(CipherError, match="kind"):
            RoomCipher(KEY).open_text(RoomCipher(KEY).seal(plain))


@given(URL_SAFE, KEYS, st.none() | st.builds("{}.{}".format, URL_SAFE, URL_SAFE))
def test_invites_round_trip(room_id: str, key: bytes, token: str | None) -> None:
    invite = Invite(room_id, key, token)
    assert Invite.parse(f"  {invite}\n") == invite


@given(st.text())
def test_any_other_text_is_an_invite_error_of_one_line(text: str) -> None:
    try:
        assert str(Invite.parse(text)) == text.strip()
    except InviteError as fault:
        assert "\n" not in str(fault)


def test_half_an_invite_or_a_second_spelling_of_its_key_is_refused() -> None:
    whole = str(Invite("roomroom", KEY))
    for text in (whole[:-1], whole[:-1] + "9", whole + ".x", whole.replace("v1", "v2"), ""):
        with pytest.raises(InviteError):
            Invite.parse(text)


def test_waits_double_up_to_the_longest_and_jitter_stays_in_the_upper_half() -> None:
    for drawn, share in ((0.0, 0.5), (1.0, 1.0)):
        backoff = Backoff(lambda drawn=drawn: drawn, first=1.0, longest=8.0)
        assert [backoff.next() for _ in range(5)] == [share * n for n in (1, 2, 4, 8, 8)]
        backoff.reset()
        assert backoff.next() == share


def outgoing(number: int) -> Outgoing:
    return Outgoing(str(number), "c", Deferred())


def test_the_outbox_keeps_order_rate_and_what_is_not_acknowledged() -> None:
    box = Outbox(rate=2.0, burst=3.0)
    for number in range(5):
        box.add(outgoing(number))
    sent, again = box.due(100.0)
    assert [message.id for message in sent] == ["0", "1", "2"]
    assert again == pytest.approx(0.501)
    box.acknowledge("1")
    box.again()
    sent, _ = box.due(101.0)
    assert [message.id for message in sent] == ["0", "2"]
    assert [message.id for message in box.due(200.0)[0]] == ["3", "4"]
    assert box.acknowledge("1") is None
    assert [message.id for message in box.clear()] == ["0", "2", "3", "4"]


@given(st.text())
def test_no_text_of_others_commands_the_terminal(text: str) -> None:
    shown = harmless(text)
    assert shown.isprintable() or all(
        char.isprintable() or char.isspace() or ord(char) > 0x7F for char in shown
    )
    assert not set(shown) & {"\x1b", "\n", "\r", "\x07", "\x08", "\x9b", "\u202e", "\u2028"}
    shown.encode()


def test_escapes_are_shown_and_letters_and_emoji_stay() -> None:
    assert harmless("\x1b[2Jhi\n\u202e") == "\\x1b[2Jhi\\n\\u202e"
    family = "Zoë 👩\u200d👧"
    assert harmless(family) == family
    assert "".join(pieces("x" * 9001)) == "x" * 9001
    assert len(pieces("x" * 9001)) == 3


@pytest.mark.parametrize(
    "url", ["", "http://a/ws", "ws:///ws", "ws://a:0/", "ws://a:x/", "ws://a\x1b/", "ws://u:p@a/"]
)
def test_a_bad_address_is_one_line(url: str) -> None:
    with pytest.raises(UrlError, match="looks like"):
        check_url(url)


def test_the_command_line_takes_an_invite_as_word_or_as_fragment() -> None:
    invite = Invite("roomroom", KEY)
    word = arguments(["ws://a:1", str(invite), "--name", "Ann"])
    assert word == ("ws://a:1/ws", invite, "Ann")
    assert arguments([f"wss://a/ws#{invite}"]) == ("wss://a/ws", invite, None)
    assert arguments(["ws://a/x/ws"]) == ("ws://a/x/ws", None, None)
    assert len(to_base64url(KEY)) == 43


def test_repeats_are_known_by_sender_and_id_among_the_last_ones() -> None:
    repeats = Repeats(remembered=2)
    heard = [repeats.is_repeat(*key) for key in ("aa", "aa", "ba", "ca", "ba", "aa")]
    assert heard == [False, True, False, False, True, False]
