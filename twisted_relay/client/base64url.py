"""base64url without padding, as the wire, keys and links have it."""

import base64
import binascii

_TO_STANDARD = str.maketrans("-_", "+/")


def to_base64url(data: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def from_base64url(text: str) -> bytes:
    """The inverse; takes either alphabet and optional padding. Raises ValueError."""
    plain = text.rstrip("=").translate(_TO_STANDARD)
    try:
        padded = plain.encode("ascii") + b"=" * (-len(plain) % 4)
        return base64.b64decode(padded, validate=True)
    except (UnicodeEncodeError, binascii.Error) as fault:
        raise ValueError("not base64url") from fault
