"""The headers that every HTTP answer has, and the id of a request."""

from __future__ import annotations

import base64
import os
import re
from typing import Protocol

#: Nothing here is a page: an answer that is taken for one may load, frame and submit nothing.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_PERMISSIONS = ", ".join(
    f"{feature}=()"
    for feature in (
        *("accelerometer", "camera", "display-capture", "geolocation", "gyroscope"),
        *("magnetometer", "microphone", "midi", "payment", "usb"),
    )
)

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")


class Choices(Protocol):
    """`settings.HttpSettings` has them."""

    @property
    def csp_directives(self) -> str | None: ...
    @property
    def hsts_max_age(self) -> int: ...
    @property
    def hsts_include_subdomains(self) -> bool: ...
    @property
    def hsts_preload(self) -> bool: ...


def security_headers(choices: Choices) -> dict[str, str]:
    """Return the headers that tell a browser what it must not do with an answer."""
    return {
        "Content-Security-Policy": choices.csp_directives or CONTENT_SECURITY_POLICY,
        "Permissions-Policy": _PERMISSIONS,
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
    }


def strict_transport(choices: Choices) -> dict[str, str]:
    """Return the header for answers over TLS (RFC 6797: elsewhere it must not be sent)."""
    value = f"max-age={choices.hsts_max_age}"
    if choices.hsts_include_subdomains:
        value += "; includeSubDomains"
    if choices.hsts_preload:
        value += "; preload"
    return {"Strict-Transport-Security": value}


def request_id(given: bytes | None) -> str:
    """Return the id that a request came with, if it may stand in a log, or else a new one.

    At most 64 letters, digits, dots, hyphens and underscores: no more than an id needs, and
    nothing that a log, a header or a terminal would take for something else.
    """
    if given is not None and _REQUEST_ID.fullmatch(given):
        return given.decode("ascii")
    return base64.urlsafe_b64encode(os.urandom(12)).decode("ascii")
