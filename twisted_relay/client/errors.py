"""What can go wrong for a client, each with one line that a person can read."""


class ClientError(Exception):
    """The root of what this package raises; ``str`` is one line and holds no secret.

    ``retry_after``: in how many seconds it makes sense to try again, where the relay said so.
    """

    retry_after: float | None = None


class ConnectFailed(ClientError):
    """The relay could not be reached, refused the handshake, or went away before an answer."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class TooLarge(ClientError):
    """More than this relay carries, or than the format allows."""


class SeatLost(ClientError):
    """The place in the room is gone for good; ``reason`` says why (``replaced``, ``closed``...)."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"no longer in the room: {reason}")
        self.reason = reason


class Refused(ClientError):
    """The relay answered ERROR. ``code`` is the protocol's ``ERR_*`` name.

    ``retryable``: the same may succeed later, or with a fresh token where the token was at fault.
    """

    def __init__(
        self,
        code: str,
        message: str = "",
        *,
        retryable: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(f"{message} ({code})" if message else code)
        self.code = code
        self.retryable = retryable
        self.retry_after = retry_after


def milliseconds(value: object) -> float | None:
    """A ``retryAfterMs`` of the relay in seconds, if it is one."""
    known = isinstance(value, int | float) and not isinstance(value, bool) and value >= 0
    return float(str(value)) / 1000 if known else None
