"""What must hold whatever comes, for the parts that do no I/O."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

import msgspec
from fuzz_input import Input, anything

from twisted_relay.core import wire
from twisted_relay.core.addresses import displayed, limit_key
from twisted_relay.core.bus import Envelope, Item, Message, Occupant, Presence
from twisted_relay.core.dotenv import DotenvError, parse_dotenv
from twisted_relay.core.errors import Close, RelayError
from twisted_relay.core.proxies import Trust
from twisted_relay.core.rooms import Standing
from twisted_relay.core.session import Refusal, Session, State
from twisted_relay.core.settings import SettingsError, load_settings
from twisted_relay.core.span import Span
from twisted_relay.core.tokens import Claims, TokenSigner, b64url
from twisted_relay.engine.interfaces import QrToken, Registered, Seat
from twisted_relay.engine.seal import Seal, _cipher, _nonce
from twisted_relay.shell import redis_replies

ROOM = "a-room-for-the-fuzzer"
KEY = b"k" * 32
SECRET = "a-secret-made-up-for-the-fuzzer-0001"


def frames(data: bytes) -> None:
    """A text message is a frame or is refused, and a frame can be said again as JSON."""
    try:
        frame = wire.decode(data, 4096)
    except wire.InvalidFrame as invalid:
        _said(wire.encode_error(invalid.error, "an-id", invalid.re))
        return
    except wire.NotAFrame:
        return
    assert 8 <= len(frame.id) <= 256
    if isinstance(frame, wire.AppMsg):
        _said(wire.encode_app_msg(frame, "a-member"))
    elif isinstance(frame, wire.MediaMsg):
        _said(wire.encode_media_msg(frame, "a-member", "a label"))


def _said(frame: bytes) -> None:
    head = {126: 4, 127: 10}.get(frame[1], 2)
    assert isinstance(json.loads(frame[head:]), dict)


class _Limits:
    max_ws_msg_bytes = 4096
    max_app_ciphertext_bytes = 1024
    max_msgs_per_10s = 50
    max_bytes_per_10s = 8192


def session(data: bytes) -> None:
    """A session takes any frames and outcomes, keeps its order, and parks no more than it may."""
    source, now = Input(data), 0.0
    state = Session(_Limits(), now)
    under_way = 0
    while source:
        step = source.number(8)
        now += source.number(4) / 4
        intents: list[Any] = []
        if step < 4:
            intents = [state.received(source.piece(), now)]
        elif step == 4:
            assert state.admits_frame(now) in (True, False)
        elif step == 5 and under_way:
            under_way -= 1
            if state.arrived():
                intents = list(state.resume())
        elif step == 6 and state.state in (State.ENTERING, State.LEAVING):
            entering, good = state.state is State.ENTERING, source.number(2)
            if not entering:
                state.left()
            elif good:
                state.joined(ROOM)
            else:
                state.refused()
            intents = list(state.resume())
        elif step == 7 and source.number(16) == 1:
            state.closed()
        for intent in intents:
            assert intent is None or isinstance(intent, Refusal | Close | wire.ClientFrame)
            if isinstance(intent, wire.AppMsg | wire.MediaMsg):
                assert state.state is State.IN_ROOM
                state.sent()
                under_way += 1
        assert len(state._parked or ()) <= _Limits.max_msgs_per_10s * (2 + now / 10)


def tokens(data: bytes) -> None:
    """A token is refused with a code, or is good; and what we signed ourselves is no exception."""
    signer = TokenSigner(SECRET.encode(), (KEY,), lambda size: b"r" * size)
    for text in (data.decode("latin-1"), data.decode(errors="replace"), _signed(data)):
        try:
            claims = signer.verify(text, ROOM, 1000)
        except RelayError:
            continue
        assert claims.rid == ROOM
        assert claims.exp >= 1000
        if claims.mid is not None:
            assert signer.verify(signer.sign(claims), ROOM, 1000) == claims
    claims = Claims(ROOM, 2000, "once")
    token = signer.sign(claims)
    at = len(data) % len(token)
    forged = token[:at] + chr(data[0] if data else 65) + token[at + 1 :]
    if forged != token:
        try:
            signer.verify(forged, ROOM, 1000)
        except RelayError:
            return
        raise AssertionError("a forged token was taken")


def _signed(payload: bytes) -> str:
    return f"{b64url(payload)}.{b64url(hmac.digest(SECRET.encode(), payload, hashlib.sha256))}"


def dotenv(data: bytes) -> None:
    """Settings are taken, or refused in one line that names the place and no secret."""
    text = data.decode("utf-8", "surrogateescape")
    try:
        found = parse_dotenv(text)
        loaded = load_settings(found)
    except DotenvError as fault:
        assert str(fault) == f"line {fault.line} is not NAME=value"
    except SettingsError as fault:
        line = str(fault)
        assert "\n" not in line
        assert line.isprintable()
        secret = found.get("JOIN_TOKEN_SECRET", "").strip()
        assert len(secret) < 8 or secret not in line
    else:
        assert all(notice.text.isprintable() for notice in loaded.notices)
        assert SECRET not in repr(loaded)


def forwarded(data: bytes) -> None:
    """X-Forwarded-For names an address, or the peer counts; a peer not trusted always counts."""
    source = Input(data)
    trust = Trust((True, False, ("203.0.113.0/24", "2001:db8::/32"))[source.number(3)])
    peer = ("127.0.0.1", "203.0.113.9", "2001:db8::1", "", "::ffff:10.0.0.1")[source.number(5)]
    header = source.rest().decode("latin-1")
    client = trust.client(peer, header)
    assert client == peer or (trust.covers(peer) and client)
    assert len(limit_key(client)) < 64
    for mode in ("none", "truncated", "full"):
        shown = displayed(client, mode)  # type: ignore[arg-type]
        assert shown is None or len(shown) < 64


def sealed(data: bytes) -> None:
    """What comes over the bus is an envelope or nothing, even if it is well encrypted nonsense."""
    seal = Seal([KEY])
    _check(seal.open(ROOM, data))
    lease = b"lease.1"
    head = bytes((1, len(lease))) + lease + (5).to_bytes(8, "big")
    body = _cipher(KEY, lease).encrypt(_nonce(5), data, head + ROOM.encode())
    found = seal.open(ROOM, head + body)
    _check(found)
    if found is not None:
        again = seal.close(ROOM, found)
        assert seal.open(ROOM, again) == found
        assert seal.open("another-room-than-that", again) is None


def _check(envelope: Envelope | None) -> None:
    if envelope is not None:
        assert envelope.sequence >= 0
        for item in envelope.items:
            assert isinstance(item, Item)


class _Port:
    """An instance around a span, which does nothing and counts what it is asked."""

    def __init__(self) -> None:
        self.members = tuple(Occupant(f"member-{n}", f"label {n}", n) for n in range(2))
        self.sent = 0
        self.handed = 0

    def occupants(self) -> tuple[Occupant, ...]:
        return self.members

    def publish(self, envelope: Envelope) -> bool:
        self.sent += 1
        return True

    def hand_out(self, message: Message) -> None:
        self.handed += 1

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments, **named: None


_items = msgspec.msgpack.Decoder(tuple[Item, ...])


def span(data: bytes) -> None:
    """Whatever other instances say: no exception, and what is kept of it has a bound."""
    source = Input(data)
    port = _Port()
    subject = Span(port, "me.1", True)
    subject.begin(Standing(1, 2, frozenset(("me.1", "you.1")), False))
    sequences: dict[str, int] = {}
    count = 0
    while source and count < 200:
        count += 1
        step = source.number(12)
        lease = ("you.1", "he.1", "me.1", "me.0", "she.2")[source.number(5)]
        if step < 8:
            try:
                items = _items.decode(source.piece())
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                items = (Presence(source.number(9), 3, ("me.1", lease), (), asks=True),)
            sequences[lease] = sequences.get(lease, 0) + source.number(3)
            subject.heard(Envelope(lease, sequences[lease], items))
        elif step == 8:
            subject.learned(Standing(source.number(9), 2, frozenset(("me.1", lease)), False))
        elif step == 9:
            subject.give_up_waiting()
            subject.give_up_missed()
        elif step == 10:
            subject.cut()
            subject.link()
        else:
            subject.hold()
            subject.flush()
            subject.release()
    assert len(subject._incoming) <= len(sequences)
    assert len(subject._attendance._roster._gone) <= 256


_READERS = (
    (redis_replies.read_seat, Seat),
    (redis_replies.read_empty, type(None)),
    (redis_replies.read_standing, Standing | None),
    (redis_replies.read_renewed, Standing | None),
    (redis_replies.read_registered, Registered),
    (redis_replies.read_exists, bool),
    (redis_replies.read_qr, QrToken),
    (redis_replies.read_creation, type(None)),
)


def replies(data: bytes) -> None:
    """A reply of Redis is one that our scripts give, or is called senseless."""
    reply = anything(data)
    for read, kind in _READERS:
        try:
            value = read(reply)
        except (redis_replies.Senseless, RelayError):
            continue
        assert isinstance(value, kind)


TARGETS = {
    "frames": frames,
    "session": session,
    "tokens": tokens,
    "dotenv": dotenv,
    "forwarded": forwarded,
    "sealed": sealed,
    "span": span,
    "replies": replies,
}
