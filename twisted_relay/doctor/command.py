"""The command line of ``relay-doctor``."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn, TextIO

from OpenSSL import SSL

from twisted_relay import __version__
from twisted_relay.doctor.deployment import Deployment, read_deployment
from twisted_relay.doctor.findings import Finding
from twisted_relay.doctor.network import Trust
from twisted_relay.doctor.order import WATCH_SECONDS, Order
from twisted_relay.doctor.report import as_json, as_text, exit_code
from twisted_relay.doctor.target import Target, TargetError, parse_target, shown_url

USAGE = 64
"""The exit status for a command line that cannot be used (EX_USAGE of sysexits.h)."""
INTERRUPTED = 130
UNWRITTEN = 74
"""The one for a report that cannot be written (EX_IOERR)."""
BUG = 70
"""The one for a bug of this command (EX_SOFTWARE)."""
_EPILOG = (
    "Settings come from the environment and the .env file, as the relay reads them. Exit status: 0"
    " all is well, 1 there are warnings, 2 something failed, 64 bad usage. docs/relay-doctor.md"
    " explains each check."
)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Say it in one line. argparse's own status, 2, means that a check failed."""
        clean = re.sub(r"\S+://\S+", lambda found: shown_url(found[0]), message)
        self.exit(USAGE, f"relay-doctor: {clean}\n")


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.1 <= value <= 3600:
        raise argparse.ArgumentTypeError(f"{text[:20]!r} is no number of seconds from 0.1 to 3600")
    return value


def _target(text: str) -> Target:
    try:
        return parse_target(text)
    except TargetError as fault:
        raise argparse.ArgumentTypeError(str(fault)) from None


def _pid(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 2**31):
        raise argparse.ArgumentTypeError(f"{text[:20]!r} is no process id")
    return int(text)


_OPTIONS: tuple[tuple[str, dict[str, Any]], ...] = (
    (
        "--env-file",
        {"metavar": "FILE", "help": "the relay's settings (default: .env, if it exists)"},
    ),
    (
        "--ops-url",
        {
            "metavar": "URL",
            "type": _target,
            "help": "where /health and /metrics are, if not there (default: by OPS_ENDPOINT)",
        },
    ),
    ("--json", {"action": "store_true", "help": "one JSON object instead of text"}),
    (
        "--timeout",
        {
            "metavar": "S",
            "type": _seconds,
            "default": 5.0,
            "help": "seconds for each question (5); everything together ends within 15",
        },
    ),
    (
        "--ca-file",
        {"metavar": "FILE", "type": Path, "help": "authorities to trust, not the system's"},
    ),
    (
        "--client-cert",
        {"metavar": "FILE", "type": Path, "help": "certificate and key, for a relay that asks"},
    ),
    (
        "--pid",
        {"metavar": "PID", "type": _pid, "help": "the relay's process, for its limit of files"},
    ),
    (
        "--idle",
        {
            "metavar": "S",
            "type": _seconds,
            "default": 0.0,
            "help": "stay silent in a room for so many seconds more: is the connection ended?",
        },
    ),
    (
        "--watch",
        {
            "metavar": "S",
            "type": _seconds,
            "default": WATCH_SECONDS,
            "help": "seconds between two looks at what the relay counts (2)",
        },
    ),
    ("--no-room", {"action": "store_true", "help": "make no room"}),
    ("--version", {"action": "version", "version": f"relay-doctor {__version__}"}),
)


def arguments(argv: list[str]) -> argparse.Namespace:
    """Read a command line; ends the process for one that cannot be used."""
    parser = _Parser(
        prog="relay-doctor",
        description="Walks the runbook's troubleshooting chapters on a live deployment, and prints"
        " what is wrong and the cure.",
        epilog=_EPILOG,
        allow_abbrev=False,
    )
    parser.add_argument(
        "url",
        metavar="URL",
        nargs="?",
        type=_target,
        help="the relay as its clients know it: https://chat.example, ws://host:3001/ws (default:"
        " by HOST and PORT, on this machine)",
    )
    for name, details in _OPTIONS:
        parser.add_argument(name, **details)
    parsed = parser.parse_args(argv)
    if parsed.no_room and parsed.idle:
        parser.error("--idle needs a room: leave --no-room out")
    try:
        parsed.trust = Trust(parsed.ca_file, parsed.client_cert)
        parsed.trust.context()
    except (SSL.Error, OSError):
        parser.error("--ca-file or --client-cert is no PEM file that can be used")
    return parsed


def order_of(parsed: argparse.Namespace, deployment: Deployment) -> Order:
    """What a command line asks for; what it leaves open, the settings say."""
    return Order(
        parsed.url or deployment.default_target(),
        parsed.ops_url,
        parsed.timeout,
        not parsed.no_room,
        parsed.idle,
        parsed.pid,
        parsed.trust,
        watch=parsed.watch,
    )


def main(argv: list[str] | None = None) -> None:
    """The console script; always exits."""
    parsed = arguments(sys.argv[1:] if argv is None else argv)
    deployment = read_deployment(os.environ, parsed.env_file)
    order = order_of(parsed, deployment)
    findings = _examine(order, deployment)
    if findings is None:
        _end(INTERRUPTED)
    url = order.target.url
    if parsed.json:
        report = as_json(url, findings)
    else:
        report = as_text(url, findings, wants_colour(sys.stdout, os.environ))
    try:
        sys.stdout.write(report)
        sys.stdout.flush()
    except OSError as fault:
        sys.stderr.write(f"relay-doctor: the report cannot be written: {fault.strerror}\n")
        os._exit(UNWRITTEN)
    _end(exit_code(findings))


def _examine(order: Order, deployment: Deployment) -> list[Finding] | None:
    """Run the reactor for as long as it takes; None if it was interrupted."""
    # Here, since these install the reactor, and a bad command line needs none.
    from twisted.internet import reactor as installed
    from twisted.internet.defer import Deferred

    from twisted_relay.doctor.examination import Examination

    reactor: Any = installed
    found: list[list[Finding]] = []

    def begin() -> None:
        done = Deferred.fromCoroutine(Examination(reactor, order, deployment).make())
        done.addCallback(found.append).addErrback(_own_fault).addBoth(lambda _: reactor.crash())

    reactor.callWhenRunning(begin)
    reactor.run()
    return found[0] if found else None


def _own_fault(failure: Any) -> NoReturn:
    """Say where, and no more: the text of an exception might quote a setting."""
    where = failure.getTracebackObject()
    while where is not None and where.tb_next is not None:
        where = where.tb_next
    place = f" in line {where.tb_lineno}" if where is not None else ""
    sys.stderr.write(f"relay-doctor: a bug of its own, {failure.type.__name__}{place}\n")
    _end(BUG)


def wants_colour(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Whether to colour: on a terminal, unless NO_COLOR says otherwise (no-color.org)."""
    return stream.isatty() and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"


def _end(code: int) -> NoReturn:
    """End now. A thread may still wait for a name server, and would be waited for."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
