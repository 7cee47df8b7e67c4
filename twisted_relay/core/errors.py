"""The errors and closes of the wire protocol: one stable code each, mapped here and nowhere else.

Source: wire protocol v1, "Errors and closes" (``docs/api.md``).
"""

from __future__ import annotations

import enum


class Code(enum.StrEnum):
    """The code of an ERROR frame or of an HTTP error body."""

    ALREADY_IN_ROOM = "ERR_ALREADY_IN_ROOM"
    NOT_IN_ROOM = "ERR_NOT_IN_ROOM"
    NO_ROOM = "ERR_NO_ROOM"
    ROOM_FULL = "ERR_ROOM_FULL"
    ROOM_GONE = "ERR_ROOM_GONE"
    TOKEN_FORMAT = "ERR_TOKEN_FORMAT"  # noqa: S105 - a code, not a secret
    TOKEN_MAC = "ERR_TOKEN_MAC"  # noqa: S105
    TOKEN_EXPIRED = "ERR_TOKEN_EXPIRED"  # noqa: S105
    TOKEN_REPLAY = "ERR_TOKEN_REPLAY"  # noqa: S105
    TOKEN_ROOM_MISMATCH = "ERR_TOKEN_ROOM_MISMATCH"  # noqa: S105
    CIPHERTEXT_TOO_LARGE = "ERR_CIPHERTEXT_TOO_LARGE"
    MEDIA_TOO_LARGE = "ERR_MEDIA_TOO_LARGE"
    INVALID_MESSAGE = "ERR_INVALID_MESSAGE"
    RATE_LIMITED = "ERR_RATE_LIMITED"
    UNAVAILABLE = "ERR_UNAVAILABLE"


_MEANINGS: dict[Code, tuple[bool, str]] = {
    Code.ALREADY_IN_ROOM: (False, "This connection is in a room already; leave it first."),
    Code.NOT_IN_ROOM: (False, "This connection is not in that room."),
    Code.NO_ROOM: (False, "There is no such room."),
    Code.ROOM_FULL: (True, "The room is full."),
    Code.ROOM_GONE: (False, "The room does not exist any more."),
    Code.TOKEN_FORMAT: (True, "The token is not of the form of a join token."),
    Code.TOKEN_MAC: (True, "The token was not signed by this relay."),
    Code.TOKEN_EXPIRED: (True, "The token has expired."),
    Code.TOKEN_REPLAY: (True, "The token has been used already."),
    Code.TOKEN_ROOM_MISMATCH: (False, "The token is for another room."),
    Code.CIPHERTEXT_TOO_LARGE: (False, "The ciphertext is longer than this relay takes."),
    Code.MEDIA_TOO_LARGE: (False, "The media is larger than this relay takes."),
    Code.INVALID_MESSAGE: (False, "The message is not valid."),
    Code.RATE_LIMITED: (True, "Too many rooms were created from this address; wait a little."),
    Code.UNAVAILABLE: (True, "The room state cannot be reached at the moment."),
}


class RelayError(Exception):
    """A refusal that the client is told: becomes an ERROR frame or an HTTP error body.

    Attributes:
        code: the stable code.
        message: one sentence for a person; holds nothing that the client sent.
        retry_after_ms: milliseconds to wait before trying again, where that is known.
    """

    def __init__(
        self, code: Code, message: str | None = None, *, retry_after_ms: int | None = None
    ) -> None:
        self.code = code
        self.message = message or _MEANINGS[code][1]
        self.retry_after_ms = retry_after_ms
        super().__init__(code.value)

    @property
    def retryable(self) -> bool:
        """Whether the same request may succeed later."""
        return _MEANINGS[self.code][0]


class Close(enum.Enum):
    """Why the relay ends a connection: close code, reason text, and the reason's name in metrics.

    Sources: RFC 6455 section 7.4.1 for 1002 to 1009; the IANA registry for 1012 and 1013.
    """

    INVALID_MESSAGE = (1003, "invalid message", "invalid_message")
    RATE_LIMIT = (1008, "rate limit exceeded", "rate_limit")
    SLOW_CONSUMER = (1008, "slow consumer", "slow_consumer")
    PING_TIMEOUT = (1008, "ping timeout", "ping_timeout")
    JOIN_TIMEOUT = (1008, "join timeout", "join_timeout")
    MESSAGE_TIMEOUT = (1008, "message timeout", "message_timeout")
    REPLACED = (1008, "replaced", "replaced")
    INTERNAL_ERROR = (1011, "internal error", "internal_error")
    SERVICE_RESTART = (1012, "service restart", "service_restart")
    TRY_AGAIN_LATER = (1013, "try again later", "unavailable")

    def __init__(self, code: int, reason: str, metric: str) -> None:
        self.code = code
        self.reason = reason
        self.metric = metric
