"""What the relay must know of Twisted's transports beyond their public interface.

Every private attribute that is used stands in this module, and `tests/shell/test_transport.py`
fails on a version of Twisted where one of them has changed.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import ITransport


def unsent_bytes(transport: ITransport) -> int:
    """Bytes that were written and that the operating system has not yet taken.

    Twisted keeps them in two buffers: ``dataBuffer``, sent from ``offset`` on, and
    ``_tempDataBuffer``, whose length is ``_tempDataLen`` (`twisted.internet.abstract`). Over TLS
    the attributes are reached through the wrapper.
    """
    inside: Any = transport
    return int(len(inside.dataBuffer) - inside.offset + inside._tempDataLen)
