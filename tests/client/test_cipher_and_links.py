"""Cipher, messages, invites and safety words, against the vectors that all clients share."""

import base64
import hashlib
import json
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from twisted_relay.client import CipherError, Invite, InviteError, RoomCipher, safety_words
from twisted_relay.client.base64url import from_base64url
from twisted_relay.client.cipher import CHAT_CONTEXT
from twisted_relay.client.media import Cut
from twisted_relay.client.messages import (
    FileMessage,
    TextMessage,
    UnknownMessage,
    decode,
    encode,
)
from twisted_relay.client.words import WORDS

VECTORS: dict[str, Any] = json.loads((Path(__file__).parent / "vectors.json").read_text())
KEY = from_base64url(VECTORS["key"])
KEYS = st.binary(min_size=32, max_size=32)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
TOKENS = st.from_regex(r"[A-Za-z0-9_-]{4,40}\.[A-Za-z0-9_-]{4,40}", fullmatch=True)


@given(KEYS, st.binary(), st.binary())
def test_cipher_round_trip(key: bytes, plaintext: bytes, context: bytes) -> None:
    sealed = RoomCipher(key).seal(plaintext, context)
    assert not set(sealed) & set("+/=")
    assert RoomCipher(key).open(sealed, context) == plaintext
    with pytest.raises(CipherError, match="another room key"):
        RoomCipher(key).open(sealed, context + b"x")


def test_the_ciphertext_is_the_format_that_all_clients_share() -> None:
    sealed = RoomCipher(KEY).seal(encode(TextMessage("id-1", 5, "Ann", "hé")), CHAT_CONTEXT)
    data = base64.urlsafe_b64decode(sealed + "=" * (-len(sealed) % 4))
    plain = AESGCM(KEY).decrypt(data[:12], data[12:], b"chat:v1")
    expected = {"type": "text", "id": "id-1", "ts": 5, "from": "Ann", "text": "hé"}
    assert json.loads(plain) == expected


@pytest.mark.parametrize(("name", "kind"), [("text", TextMessage), ("file", FileMessage)])
def test_the_vectors_of_messages(name: str, kind: type) -> None:
    vector = VECTORS[name]
    plain = RoomCipher(KEY).open(vector["sealed"], vector["context"].encode())
    assert plain == vector["plaintext"].encode()
    message = decode(plain)
    assert type(message) is kind
    assert encode(message) == plain


def test_a_message_of_another_kind_is_never_text() -> None:
    plain = RoomCipher(KEY).open(VECTORS["unknown"]["sealed"], CHAT_CONTEXT)
    for unknown in (plain, b'{"type":"image"}', b"\xff", b"[]", b'{"type":"text","id":1}', b""):
        with pytest.raises(UnknownMessage, match="kind"):
            decode(unknown)
    with pytest.raises(UnknownMessage):
        decode(b"[" * 100_000)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
FIELDS = st.sampled_from(["id", "ts", "from", "text", "mediaId", "name", "mime", "size", "sha256"])


@given(st.sampled_from(["text", "file", "x"]), st.dictionaries(FIELDS, JSON))
def test_whatever_a_member_writes_is_a_message_or_an_unknown_one(
    kind: str, fields: dict[str, Any]
) -> None:
    try:
        message = decode(json.dumps({"type": kind} | fields).encode())
    except UnknownMessage:
        return
    time.gmtime(message.ts / 1000)
    assert decode(encode(message)) == message


def test_the_vectors_of_media() -> None:
    media = VECTORS["media"]
    content, cut = from_base64url(media["content"]), Cut(media["size"], media["chunkSize"])
    assert hashlib.sha256(content).hexdigest() == media["sha256"]
    assert cut.count == len(media["pieces"])
    cipher = RoomCipher(KEY)
    opened = [cut.open(cipher, p["sealed"], p["index"]) for p in media["pieces"]]
    assert b"".join(opened) == content
    for index, piece in enumerate(media["pieces"]):
        sealed = cut.seal(cipher, content, index)
        assert cipher.open(sealed, piece["context"].encode()) == opened[index]


def test_two_seals_of_one_text_differ() -> None:
    assert len({RoomCipher(KEY).seal(b"same", b"") for _ in range(64)}) == 64


@pytest.mark.parametrize("text", ["", "AAAA", "é", "not base64!", "A", "A" * 100])
def test_what_cannot_be_decrypted_is_a_cipher_error(text: str) -> None:
    with pytest.raises(CipherError, match="cannot decrypt"):
        RoomCipher(KEY).open(text, CHAT_CONTEXT)


def test_a_wrong_key_says_so_and_keys_are_in_no_repr() -> None:
    sealed = RoomCipher(KEY).seal(b"secret", CHAT_CONTEXT)
    with pytest.raises(CipherError, match="another room key"):
        RoomCipher(bytes(32)).open(sealed, CHAT_CONTEXT)
    with pytest.raises(CipherError, match="32 bytes"):
        RoomCipher(b"short")
    shown = repr(RoomCipher(KEY)) + repr(Invite("ws://a/ws", "roomroom", KEY, "to.ken-1"))
    assert repr(KEY) not in shown
    assert "to.ken-1" not in shown


HOSTS = st.sampled_from(["relay.example", "127.0.0.1:3001", "[::1]:8443", "localhost"])
FOLDERS = st.sampled_from(["", "/chat", "/a/b"])
URLS = st.builds("{}://{}{}/ws".format, st.sampled_from(["ws", "wss"]), HOSTS, FOLDERS)
ROOMS = st.text("abcXYZ019-_", min_size=8, max_size=128)


@given(URLS, ROOMS, KEYS, st.none() | TOKENS)
def test_links_round_trip(url: str, room_id: str, key: bytes, token: str | None) -> None:
    invite = Invite(url, room_id, key, token)
    assert Invite.parse(f"  {invite.link}\n") == invite
    assert invite.link.count("?") == 0
    page, fragment = invite.link.split("#")
    assert room_id not in page
    bare = Invite.parse(f"#{fragment}")
    assert bare == Invite(None, room_id, key, token)
    with pytest.raises(InviteError, match="address"):
        _ = bare.link


@pytest.mark.parametrize("vector", VECTORS["links"] + VECTORS["otherLinks"])
def test_the_vectors_of_links(vector: dict[str, Any]) -> None:
    invite = Invite.parse(vector["link"])
    expected = Invite(vector["relayUrl"], vector["roomId"], KEY, vector["token"])
    assert invite == expected
    assert from_base64url(vector["key"]) == KEY
    if vector in VECTORS["links"]:
        assert invite.link == vector["link"]


@pytest.mark.parametrize("link", VECTORS["badLinks"])
def test_what_is_no_whole_invite_is_one_line_without_the_key(link: str) -> None:
    with pytest.raises(InviteError) as refused:
        Invite.parse(link)
    assert "\n" not in str(refused.value)
    assert VECTORS["key"][:20] not in str(refused.value)


@given(st.text() | st.builds("https://a/#k={}&roomId={}&token={}".format, *[st.text()] * 3))
def test_any_other_text_is_an_invite_or_an_invite_error(text: str) -> None:
    try:
        invite = Invite.parse(text)
    except InviteError as fault:
        assert "\n" not in str(fault)
    else:
        assert Invite.parse(invite.link) == invite


def test_a_mistyped_key_is_noticed_and_an_address_with_a_password_refused() -> None:
    link = Invite("ws://a/ws", "roomroom", KEY).link
    for wrong in (
        link.replace(f"k={VECTORS['key']}", f"k={VECTORS['key'][:-1]}l"),
        link.replace("http://a/", "http://user:word@a/"),
        link.replace("http://a/", "http://a:0/"),
        link.replace("http://", "ftp://"),
    ):
        assert wrong != link
        with pytest.raises(InviteError):
            Invite.parse(wrong)


def test_the_words_are_hard_to_mistake_and_their_list_is_part_of_the_format() -> None:
    assert len(WORDS) == 256
    assert len({word[:4] for word in WORDS}) == 256
    assert all(4 <= len(word) <= 7 and word.isascii() and word.islower() for word in WORDS)
    assert list(WORDS) == sorted(WORDS)
    assert hashlib.sha256(" ".join(WORDS).encode()).hexdigest() == VECTORS["words"]
    close = [(a, b) for a in WORDS for b in WORDS if a < b and len(a) == len(b) and _near(a, b)]
    assert close == []


def _near(one: str, other: str) -> bool:
    return sum(a != b for a, b in zip(one, other, strict=True)) < 3


def test_the_vectors_of_safety_words() -> None:
    assert list(safety_words(KEY)) == VECTORS["safetyWords"]
    assert safety_words(KEY) != safety_words(bytes(32))
