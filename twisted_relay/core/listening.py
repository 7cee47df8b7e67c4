"""Where to listen: what of the settings goes together, and what does not."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import attrs

TLS_PREFIX = "wss:"
"""Before an endpoint in RELAY_ENDPOINTS: with TLS in front, by the settings."""
_TLS = ("TLS_CERT_FILE", "TLS_KEY_FILE", "TLS_CLIENT_CA_FILE")
_CERT, _KEY, _CLIENT_CA = _TLS


@attrs.frozen
class ListenSettings:
    """Where to listen. ``relay_endpoints`` that are not empty take the place of host and port."""

    host: str
    port: int
    trust_proxy: bool | tuple[str, ...]
    tls_cert_file: str | None
    tls_key_file: str | None
    tls_client_ca_file: str | None
    relay_endpoints: tuple[str, ...]
    ops_endpoint: str | None


def split_endpoints(text: str) -> tuple[str, ...]:
    """The endpoint strings in `text`, which stand apart by blanks or line ends.

    A blank that is part of one has a backslash before it, as Twisted reads it too.
    """
    return tuple(re.findall(r"(?:\\.|[^\s\\])+", text, re.DOTALL))


def contradiction(values: Mapping[str, Any]) -> tuple[str, str, str] | None:
    """The name, the fault, and what is allowed instead, of the first setting about listening that
    does not go with another; None if all do."""
    cert, key, ca = (values[name] for name in _TLS)
    endpoints = values["RELAY_ENDPOINTS"]
    if cert is not None and key is None:
        return _KEY, f"it is missing, and {_CERT} needs it", "the file of the certificate's key"
    for name, given in ((_KEY, key), (_CLIENT_CA, ca)):
        if cert is None and given is not None:
            fault = f"it is missing, and {name} means nothing without it"
            return _CERT, fault, "the file of a certificate"
    with_tls = [text for text in endpoints if text.startswith(TLS_PREFIX)]
    if with_tls and cert is None:
        fault = f"it is missing, and an endpoint of RELAY_ENDPOINTS begins with {TLS_PREFIX}"
        return _CERT, fault, "the file of a certificate"
    if endpoints and cert is not None and not with_tls:
        # To go on would be to speak in the clear where somebody meant TLS.
        fault = "no endpoint of RELAY_ENDPOINTS uses it"
        allowed = f"no value, or {TLS_PREFIX} before an endpoint that is to have TLS by it"
        return _CERT, fault, allowed
    return None
