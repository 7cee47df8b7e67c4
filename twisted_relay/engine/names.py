"""Names that are never used twice, by this process or another."""

from __future__ import annotations

from collections.abc import Callable

from twisted_relay.core.tokens import b64url


class Names:
    """A random part for the process, and a count.

    Args:
        random_bytes: `os.urandom`, or its stand-in in a test.
    """

    def __init__(self, random_bytes: Callable[[int], bytes]) -> None:
        self._frame_prefix = b64url(random_bytes(9))
        self._frames = 0
        self._instance = b64url(random_bytes(16))
        self._leases = 0

    def frame(self) -> str:
        """The id of a frame of the relay's own."""
        self._frames += 1
        return f"{self._frame_prefix}{self._frames:x}"

    def lease(self) -> str:
        """The name of a stay in a room: the instance's own name, a dot, and more (`View`)."""
        self._leases += 1
        return f"{self._instance}.{self._leases:x}"
