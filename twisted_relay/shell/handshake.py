"""What a WebSocket handshake must look like, checked before it takes a place (RFC 6455 4.2.1)."""

from __future__ import annotations

import re

from twisted.web.http import Request

from twisted_relay.shell.answers import Answer, error

_KEY = re.compile(rb"[A-Za-z0-9+/]{22}==")


def handshake_fault(request: Request) -> Answer | None:
    """The answer to a request that is no valid handshake; None if it is one.

    Autobahn checks again, but would answer without a body and quote the client.
    """
    if b"websocket" not in _words(request, b"upgrade"):
        return error(
            426,
            "ERR_UPGRADE_REQUIRED",
            "Connect here with a WebSocket client.",
            {"Upgrade": "websocket"},
        )
    if request.method != b"GET":
        return error(405, "ERR_METHOD_NOT_ALLOWED", "Allowed here: GET.", {"Allow": "GET"})
    if request.clientproto != b"HTTP/1.1":
        return _bad("The handshake must be HTTP/1.1.")
    if b"upgrade" not in _words(request, b"connection"):
        return _bad("The header Connection must name Upgrade.")
    if _values(request, b"sec-websocket-version") != [b"13"]:
        return error(
            426,
            "ERR_UPGRADE_REQUIRED",
            "The version of the WebSocket protocol must be 13.",
            {"Sec-WebSocket-Version": "13", "Upgrade": "websocket"},
        )
    keys = _values(request, b"sec-websocket-key")
    if len(keys) != 1 or not _KEY.fullmatch(keys[0]):
        return _bad("The header Sec-WebSocket-Key must hold 16 bytes in base64, once.")
    if len(_values(request, b"host")) != 1:
        return _bad("The header Host must be there, once.")
    return None


def _bad(message: str) -> Answer:
    return error(400, "ERR_BAD_REQUEST", message)


def _values(request: Request, name: bytes) -> list[bytes]:
    return [value.strip() for value in request.requestHeaders.getRawHeaders(name, [])]


def _words(request: Request, name: bytes) -> set[bytes]:
    """The members of a header that is a list, in lower case."""
    return {word.strip().lower() for value in _values(request, name) for word in value.split(b",")}
