"""Join tokens: who may come into which room, until when, and who is coming back.

A token is ``base64url(P) + "." + base64url(HMAC-SHA256(secret, P))`` without padding, where P is
UTF-8 JSON. Source: wire protocol v1, "Join tokens" and "Coming back".
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable
from typing import Annotated, Literal

import msgspec

from twisted_relay.core.errors import Code, RelayError

_FORM = re.compile(r"[A-Za-z0-9_-]{1,2000}\.[A-Za-z0-9_-]{43}")
_MAX_MILLISECONDS = 2**53

_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
_Count = Annotated[int, msgspec.Meta(ge=0, le=_MAX_MILLISECONDS)]


class Claims(msgspec.Struct, frozen=True):
    """What a token says. ``mid`` and ``gen`` are only in a ``nextToken``.

    Attributes:
        rid: the room.
        exp: until when it serves, Unix milliseconds.
        jti: 128 random bits that make the token one of its kind.
        mid: the member whose seat it takes back.
        gen: the token's generation; it serves while no later generation has been used.
        lbl: the member's label, carried here so that no store needs to know it.
    """

    rid: _Text
    exp: _Count
    jti: _Text
    mid: _Text | None = None
    gen: _Count = 0
    lbl: Annotated[str, msgspec.Meta(max_length=32)] | None = None


class _Version(msgspec.Struct):
    v: Literal[1]


_version = msgspec.json.Decoder(_Version)
_claims = msgspec.json.Decoder(Claims)


def b64url(data: bytes) -> str:
    """Base64url without padding (RFC 4648 section 5)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _unb64url(text: str) -> bytes:
    """The one strict inverse of `b64url`: a second spelling of the same bytes is refused."""
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        raise RelayError(Code.TOKEN_FORMAT) from None
    if b64url(data) != text:
        raise RelayError(Code.TOKEN_FORMAT)
    return data


class TokenSigner:
    """Makes and checks join tokens.

    Args:
        secret: the HMAC key that signs.
        old_secrets: keys that still verify and no longer sign (rotation).
        random_bytes: the source of randomness, `os.urandom` outside the tests.
    """

    def __init__(
        self, secret: bytes, old_secrets: tuple[bytes, ...], random_bytes: Callable[[int], bytes]
    ) -> None:
        self._random_bytes = random_bytes
        self.change(secret, old_secrets)

    def change(self, secret: bytes, old_secrets: tuple[bytes, ...]) -> None:
        """Sign and verify by these from now on."""
        self._secret = secret
        self._verifying = (secret, *old_secrets)

    def random_id(self) -> str:
        """128 random bits in base64url: a room id, a member id or a ``jti``."""
        return b64url(self._random_bytes(16))

    def sign(self, claims: Claims) -> str:
        """The token that carries these claims; the same claims give the same token."""
        fields = {"v": 1, "rid": claims.rid, "exp": claims.exp, "jti": claims.jti}
        if claims.mid is not None:
            fields |= {"mid": claims.mid, "gen": claims.gen}
            if claims.lbl is not None:
                fields["lbl"] = claims.lbl
        payload = msgspec.json.encode(fields)
        return f"{b64url(payload)}.{b64url(hmac.digest(self._secret, payload, hashlib.sha256))}"

    def verify(self, token: str, room_id: str, now_ms: int) -> Claims:
        """What a token says, once it is known to be good for this room at this time.

        Raises:
            RelayError: in the protocol's order: TOKEN_FORMAT, TOKEN_MAC, TOKEN_ROOM_MISMATCH,
                TOKEN_EXPIRED. Replay, the room's existence and its capacity are the store's.
        """
        if not _FORM.fullmatch(token):
            raise RelayError(Code.TOKEN_FORMAT)
        head, _, tail = token.partition(".")
        payload, mac = _unb64url(head), _unb64url(tail)
        # Every key is tried, so that the time taken does not tell which one it was.
        good = [
            hmac.compare_digest(hmac.digest(key, payload, hashlib.sha256), mac)
            for key in self._verifying
        ]
        if not any(good):
            raise RelayError(Code.TOKEN_MAC)
        try:
            _version.decode(payload)
            claims = _claims.decode(payload)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise RelayError(Code.TOKEN_FORMAT) from None
        if claims.rid != room_id:
            raise RelayError(Code.TOKEN_ROOM_MISMATCH)
        if now_ms > claims.exp:
            raise RelayError(Code.TOKEN_EXPIRED)
        return claims
