"""What a relay allows its clients, as its HELLO says."""

from typing import Self

import attrs

from .frames import Frame

_LARGEST = 2**53  # what JSON carries everywhere; a larger one is no limit but a fault


@attrs.frozen
class Limits:
    """Sizes in bytes, rates for ten seconds; the defaults are those of a relay left as it comes.

    A relay closes the connection of a client that sends more than the rates, so the client keeps
    under them by itself.
    """

    max_ws_msg_bytes: int = 262_144
    max_app_ciphertext_bytes: int = 65_536
    max_msgs_per_10s: int = 200
    max_bytes_per_10s: int = 1_048_576
    max_media_bytes: int = 10_485_760
    max_media_chunks: int = 128
    max_participants: int = 10

    @classmethod
    def of(cls, frame: Frame) -> Self:
        """From HELLO. What is missing there, as with older relays, is taken from the defaults."""
        told = frame.body.get("limits")
        told = told if isinstance(told, dict) else {}
        known = {}
        for field in attrs.fields(cls):
            value = told.get(_wire_name(field.name))
            if not isinstance(value, int) or isinstance(value, bool):
                continue
            if 0 < value <= _LARGEST:
                known[field.name] = value
        return cls(**known)


def _wire_name(name: str) -> str:
    """``max_ws_msg_bytes`` is maxWsMsgBytes on the wire."""
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)
