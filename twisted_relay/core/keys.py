"""Keys for single purposes, derived from the secret that all instances share.

Each is ``HMAC-SHA256(JOIN_TOKEN_SECRET, label)`` with a label of its own: whoever learnt one of
them could still neither make a join token nor find the others. A join token's signed part is JSON,
so that no label can be taken for one. Compare the expansion of RFC 5869 section 2.3.
"""

from __future__ import annotations

import hashlib
import hmac

_BUS = b"twisted-relay bus v1"
_ADDRESSES = b"twisted-relay addresses v1"


def bus_keys(secret: bytes, old_secrets: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """What messages between instances are signed with: the first signs, all of them verify."""
    return tuple(_derive(each, _BUS) for each in (secret, *old_secrets))


def address_key(secret: bytes) -> bytes:
    """What addresses are hashed with before they go to the store that all instances share.

    Unkeyed, the hash of an IPv4 address could be undone by trying them all.
    """
    return _derive(secret, _ADDRESSES)


def _derive(secret: bytes, label: bytes) -> bytes:
    return hmac.digest(secret, label, hashlib.sha256)
