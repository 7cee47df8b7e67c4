# mypy: allow-untyped-calls
# (twisted.web has no annotations for most of what is called and inherited here.)
"""The web client's page (WEB_CLIENT): files of the package, read once, and how they are served.

A path is a key of a dictionary and never a part of a file name, so none leads anywhere else.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

import attrs
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger
from twisted.web.resource import Resource

from twisted_relay.core.listening import ListenSettings
from twisted_relay.core.settings import SettingsError
from twisted_relay.engine.metrics import PAGE
from twisted_relay.shell.answers import Answer, Desk, Endpoint

TYPES = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
"""What is served, by the end of its name; setup.py packs the same."""
INDEX = "index.html"
#: Where invitations of the old service lead; their fragment is for the page.
_INDEX_PATHS = ("", "join")

#: The page runs nothing but its own files, and speaks to nobody but its own relay. What it shows of
#: others can become neither code nor markup. `blob:` is for pictures that came encrypted.
CONTENT_SECURITY_POLICY = "; ".join(
    (
        *("default-src 'none'", "script-src 'self'", "style-src 'self'"),
        *("img-src 'self' blob:", "connect-src 'self'"),
        *("base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"),
        *("require-trusted-types-for 'script'", "trusted-types 'none'"),
    )
)
HEADERS = {
    # A browser may keep it, and asks each time whether it is still the one: after an update
    # nobody runs modules of two versions.
    "Cache-Control": "no-cache",
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""What the page says, whatever CSP_DIRECTIVES and FEATURE_SECURITY_HEADERS are: it relies on it."""

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*\.([a-z]+)")
_TAG = re.compile(r'(?:W/)?("[^"]*")')
#: What listens everywhere is reached here.
_HERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not bound

_log = Logger()


@attrs.frozen
class File:
    """One file of the page, as it is sent."""

    content: bytes
    content_type: str
    etag: str


def page_folder() -> Traversable:
    """Return where the page's files lie, in whichever way the package is installed."""
    return resources.files("twisted_relay") / "web"


def read_page(folder: Traversable) -> dict[str, File]:
    """Return the files of the page by name; what is none of its kinds is left out.

    Raises:
        SettingsError: if the page is not there.
    """
    try:
        found = list(folder.iterdir())
    except OSError:
        found = []
    files: dict[str, File] = {}
    for each in found:
        name = _NAME.fullmatch(each.name)
        if name is not None and name[1] in TYPES:
            content = each.read_bytes()
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()[:15]).decode()
            files[each.name] = File(content, TYPES[name[1]], f'"{digest}"')
    if INDEX not in files:
        fault = "the files of the web client are missing from this installation"
        raise SettingsError("WEB_CLIENT", fault, "false, until it is installed anew")
    return files


def add_page(root: Resource, desk: Desk, files: Mapping[str, File]) -> None:
    """Put the page below ``root``, each file at the one or two paths that are its own."""
    for name, file in files.items():
        for path in _INDEX_PATHS if name == INDEX else (name,):
            root.putChild(path.encode(), Served(desk, file))


class Served(Endpoint):
    """A file at its one path. Its calls are no room calls, and have no limit."""

    route = PAGE

    def __init__(self, desk: Desk, file: File) -> None:
        super().__init__(desk)
        self._file = file
        self._headers = {**HEADERS, "ETag": file.etag}

    async def answer(self, request: Any) -> Answer:
        """Return the file, or 304 to a browser that has it."""
        given = request.requestHeaders.getRawHeaders("if-none-match") or ()
        if is_known(", ".join(given), self._file.etag):
            return Answer(304, b"", headers=self._headers)
        return Answer(200, self._file.content, self._file.content_type, self._headers)


def is_known(if_none_match: str, etag: str) -> bool:
    """Tell whether the header names the tag, weakly compared (RFC 9110 section 13.1.2)."""
    return if_none_match.strip() == "*" or etag in _TAG.findall(if_none_match)


def announce(listen: ListenSettings, port: IListeningPort) -> None:
    """Write where a person finds the page, for one who has just started the relay."""
    _log.info(
        "web client: open {endpoint} in a browser",
        event="web_client",
        endpoint=address(listen, getattr(port.getHost(), "port", listen.port)),
    )


def address(listen: ListenSettings, port: int) -> str:
    """The page's address on this machine; with RELAY_ENDPOINTS only its path is known."""
    if listen.relay_endpoints:
        return "/"
    host = _HERE.get(listen.host, listen.host)
    scheme = "http" if listen.tls_cert_file is None else "https"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}/"
