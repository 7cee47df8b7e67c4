"""The tokens that this relay hands out, each with its life."""

from __future__ import annotations

from collections.abc import Callable

from twisted_relay.core.tokens import Claims, TokenSigner
from twisted_relay.engine.client import Seated
from twisted_relay.engine.interfaces import QrToken

#: How long a token from GET /rooms/ID/token serves, milliseconds (wire protocol, "HTTP").
HTTP_TOKEN_TTL_MS = 60_000


class Issuer:
    """Makes join tokens; every token is returned with its expiry in Unix milliseconds.

    Args:
        signer: signs and verifies.
        now_ms: Unix time in milliseconds.
        next_token_ttl_ms: how long a seat can be taken back.
        qr_ttl_ms: how long a QR token serves.
    """

    def __init__(
        self,
        signer: TokenSigner,
        now_ms: Callable[[], int],
        next_token_ttl_ms: int,
        qr_ttl_ms: int,
    ) -> None:
        self._signer = signer
        self._now_ms = now_ms
        self.next_token_ttl_ms = next_token_ttl_ms
        self._qr_ttl_ms = qr_ttl_ms

    def random_id(self) -> str:
        """128 random bits for a room or a member."""
        return self._signer.random_id()

    def verify(self, token: str, room_id: str) -> Claims:
        """What a token says, if it is good now. Raises RelayError."""
        return self._signer.verify(token, room_id, self._now_ms())

    def next_token(self, member: Seated) -> tuple[str, int]:
        """A token by which the member takes its seat back; the ones before it die with its use."""
        member.generation += 1
        expires_ms = self._now_ms() + self.next_token_ttl_ms
        claims = Claims(
            rid=member.room.id,
            exp=expires_ms,
            jti=self._signer.random_id(),
            mid=member.id,
            gen=member.generation,
            lbl=member.label,
        )
        return self._signer.sign(claims), expires_ms

    def fresh_qr(self) -> QrToken:
        """A new QR token, not yet the room's."""
        return QrToken(self._signer.random_id(), self._now_ms() + self._qr_ttl_ms)

    def seconds_left(self, qr: QrToken) -> float:
        """Seconds until a QR token expires; never negative."""
        return max(0.0, (qr.expires_ms - self._now_ms()) / 1000)

    def qr_token(self, room_id: str, qr: QrToken) -> tuple[str, int]:
        """The text of a room's QR token: the same on every instance."""
        return self._signer.sign(Claims(room_id, qr.expires_ms, qr.id)), qr.expires_ms

    def http_token(self, room_id: str) -> tuple[str, int]:
        """A token for one who asked over HTTP."""
        expires_ms = self._now_ms() + HTTP_TOKEN_TTL_MS
        return self._signer.sign(Claims(room_id, expires_ms, self._signer.random_id())), expires_ms
