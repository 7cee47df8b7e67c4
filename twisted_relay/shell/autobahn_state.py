"""What the relay must know of Autobahn's protocols beyond their public interfaces.

`versions` tries at the start whether they are as they are read here.
"""

from __future__ import annotations

from types import FunctionType
from typing import Any, cast

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from autobahn.websocket import xormasker


def between_messages(protocol: Any) -> bool:
    """Whether an Autobahn protocol is open, with no frame or message begun and no bytes kept.

    ``current_frame`` and ``inside_message`` exist from the handshake on, which is also when the
    state becomes open.
    """
    return bool(
        protocol.state == WebSocketServerProtocol.STATE_OPEN
        and not protocol.data
        and protocol.current_frame is None
        and not protocol.inside_message
    )


def unmasked(mask: bytes, data: bytes) -> bytes:
    """`data` without its mask (RFC 6455 section 5.3); Autobahn has compiled code for it."""
    return cast(bytes, xormasker.create_xor_masker(mask, len(data)).process(data))  # type: ignore[attr-defined]


#: What Autobahn keeps of an opening handshake, though it has no more use for it.
_OF_THE_HANDSHAKE = (
    "http_headers",
    "http_request_data",
    "http_request_host",
    "http_request_params",
    "http_request_path",
    "http_request_uri",
    "http_response_data",
    "http_status_line",
    "_wskey",
)


def forget_handshake(protocol: Any) -> None:
    """Keep nothing of the opening handshake of a WebSocket that is open.

    A browser's headers are a kilobyte or two, which Autobahn would hold twice for as long as the
    connection lives.
    """
    kept = vars(protocol)
    for name in _OF_THE_HANDSHAKE:
        if name in kept:
            kept[name] = None


def forget_connection(protocol: Any) -> None:
    """Keep nothing of a WebSocket that is gone.

    Its Deferred ``is_closed`` has it as its result, so that it holds itself until the collector
    finds it, and a timer for the closing handshake holds it for seconds; and with it whatever of a
    large message had come. A flood of such connections would take hundreds of megabytes.
    """
    protocol.is_closed = None
    protocol.data = b""
    protocol.frame_data, protocol.message_data = [], []


def with_options_of(factory: WebSocketServerFactory, kind: Any) -> Any:
    """A protocol with the factory's options as attributes of the class.

    Autobahn copies each option that a protocol lacks from the factory to every connection, and
    renders them all for its debug log, which is not even written. It also sets TCP_NODELAY before
    it has copied the option for it.
    """
    options = {name: getattr(factory, name) for name in kind.CONFIG_ATTRS}
    # Else a function would become a method.
    shared = {n: staticmethod(v) if isinstance(v, FunctionType) else v for n, v in options.items()}
    return type(kind.__name__, (kind,), {**shared, "CONFIG_ATTRS": ()})
