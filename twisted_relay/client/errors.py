"""What can go wrong for a client, each with one line that a person can read."""


class ClientError(Exception):
    """The root of what this package raises; ``str`` is one line and holds no secret."""


class ConnectFailed(ClientError):
    """The relay could not be reached, refused the handshake, or went away before an answer."""


class SeatLost(ClientError):
    """The place in the room is gone for good; ``reason`` says why (``replaced``, ``closed``...)."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"no longer in the room: {reason}")
        self.reason = reason


class Refused(ClientError):
    """The relay answered ERROR. ``code`` is the protocol's ``ERR_*`` name."""

    def __init__(self, code: str, message: str = "", *, retryable: bool = False) -> None:
        super().__init__(f"{message} ({code})" if message else code)
        self.code = code
        self.retryable = retryable
