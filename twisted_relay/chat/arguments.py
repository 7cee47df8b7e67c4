"""The command line of relay-chat, checked before anything is opened."""

import argparse
from pathlib import Path
from typing import Any

import attrs
from twisted.internet.ssl import Certificate, trustRootFromCertificates

from .. import __version__
from ..client.errors import ClientError
from ..client.invite import Invite, InviteError
from ..client.link import check_url
from .downloads import Downloads, reason

_CERTIFICATE = "-----BEGIN CERTIFICATE-----"


class BadUse(ClientError):
    """The command line asks for something that cannot be."""


@attrs.frozen
class Options:
    """What the person wants. ``invite`` is None where a room is to be made."""

    relay: str
    invite: Invite | None
    name: str | None
    downloads: Downloads | None
    quiet: bool
    stay: bool
    once: bool
    qr: bool
    trust_root: Any


def parse(argv: list[str], ask: Any) -> Options:
    """Read a command line; ``ask()`` gives the link where it is ``-``.

    Raises ClientError; argparse itself may exit, with 2 or after ``--help`` with 0.
    """
    given = _parser().parse_args(argv)
    relay, invite = _where(given.address, given.link, ask)
    return Options(
        relay,
        invite,
        given.name,
        Downloads.into(given.downloads) if given.downloads is not None else None,
        given.quiet,
        given.stay,
        given.once,
        given.qr,
        authorities(given.ca_file) if given.ca_file is not None else None,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="relay-chat",
        usage="relay-chat [options] RELAY | LINK | RELAY LINK",
        description="An end-to-end encrypted chat in the terminal, over a relay.",
        epilog="RELAY alone makes a room and shows the link that others join by. Put a link in "
        "quotes. Exit codes: 0 left; 1 could not enter, lost the seat, or something was not "
        "delivered; 2 bad use.",
    )
    add = parser.add_argument
    add("address", metavar="RELAY or LINK", help="ws://host:port/ws or wss://host/ws; or an invite")
    add(
        "link", metavar="LINK", nargs="?", help="an invite; - reads it from the first line of input"
    )
    add("--name", help="how others see you (at most 32 characters)")
    add("--downloads", metavar="DIR", help="keep files that others send in this folder")
    add("--quiet", action="store_true", help="for scripts: input to room, room to output, no more")
    add("--stay", action="store_true", help="stay in the room when the input has ended")
    add("--once", action="store_true", help="show a link whose join token serves once")
    add("--no-qr", dest="qr", action="store_false", help="show no QR codes")
    add("--ca-file", metavar="PEM", help="trust these authorities instead of the system's")
    add("--version", action="version", version=f"relay-chat {__version__}")
    return parser


def _where(address: str, link: str | None, ask: Any) -> tuple[str, Invite | None]:
    if link is not None:
        return check_url(address), Invite.parse(ask() if link == "-" else link)
    if address == "-":
        address = ask().strip()
    if not address.lower().startswith(("http:", "https:", "#")):
        return check_url(address), None
    invite = Invite.parse(address)
    if invite.relay_url is None:
        raise InviteError("this link names no host: give the relay's address before it")
    return check_url(invite.relay_url), invite


def authorities(path: str) -> Any:
    """The certificates in a PEM file, as IOpenSSLTrustRoot. Raises BadUse."""
    try:
        text = Path(path).read_text(encoding="ascii")
    except OSError as fault:
        raise BadUse(f"cannot read {path}: {reason(fault)}") from fault
    except UnicodeDecodeError as fault:
        raise BadUse(f"{path} is not a file of certificates in PEM") from fault
    try:
        parts = [f"{_CERTIFICATE}{part}".encode() for part in text.split(_CERTIFICATE)[1:]]
        found = [Certificate.loadPEM(part) for part in parts]
    except Exception as fault:  # pyOpenSSL's errors are several and say nothing to a person
        raise BadUse(f"a certificate in {path} is damaged") from fault
    if not found:
        raise BadUse(f"there is no certificate in {path}")
    return trustRootFromCertificates(found)
