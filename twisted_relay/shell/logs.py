"""Log lines: JSON (or a form for people), a string level, and nothing private at any level.

Two rules keep private things out, whatever the level:

- Of the relay's own events (namespace ``twisted_relay``) only the fields named in ``FIELDS`` are
  written, and only those are filled into the text. A client's address is cut to what
  LOG_CLIENT_ADDRESS allows.
- Of anybody else's events the text is never written, since Autobahn and twisted.web put peer
  addresses and request lines into theirs: only namespace, level and, for a failure, its type and
  stack. An exception's own message is never written, for the same reason.

A line that a client can bring about at will (it names an address, or a failure) is written once a
second for each event and reason; the next one says how many were ``suppressed``.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, Protocol, TextIO

from twisted.application import service
from twisted.logger import (
    ILogObserver,
    LogEvent,
    LogLevel,
)
from twisted.python.failure import Failure
from twisted.python.logfile import LogFile
from zope.interface import implementer

from twisted_relay.core.addresses import displayed
from twisted_relay.shell.log_lines import (
    bounded,
    cut,
    describe_failure,
    foreign,
    iso,
    render_json,
    render_pretty,
)

OURS = "twisted_relay"
LEVELS = ("trace", "debug", "info", "warn", "error", "fatal")
CLIENT_ADDRESS = "client_address"
"""The field that takes a whole client address; the observer cuts it as the operator chose."""

FIELDS = (
    "event",
    CLIENT_ADDRESS,
    "attempt",
    "bytes",
    "check",
    "close_code",
    "code",
    "connections",
    "count",
    "deployment_env",
    "duration_ms",
    "endpoint",
    "expires",
    "fault",
    "instance_id",
    "kind",
    "latency_ms",
    "limit",
    "members",
    "method",
    "policy",
    "port",
    "reason",
    "request_id",
    "retry_in_ms",
    "rooms",
    "route",
    "serial",
    "setting",
    "state",
    "status",
    "store",
    "suppressed",
    "timeout_ms",
    "type",
    "unknown",
    "version",
)
_PLACE = re.compile(r"\{(\w+)\}")
_LEVEL_NAMES = {
    LogLevel.debug: "debug",
    LogLevel.info: "info",
    LogLevel.warn: "warn",
    LogLevel.error: "error",
    LogLevel.critical: "fatal",
}


class LogChoices(Protocol):
    """What of the settings the observer needs."""

    @property
    def level(self) -> str: ...
    @property
    def format(self) -> str: ...
    @property
    def client_address(self) -> str: ...


class Throttle:
    """Lets through one line for each event and interval, and counts the rest.

    ``event`` is from an enumeration, so that there are few.
    """

    def __init__(self, interval: float = 1.0) -> None:
        self._interval = interval
        self._last: dict[str, float] = {}
        self._suppressed: dict[str, int] = {}

    def admit(self, event: str, now: float) -> int | None:
        """Return how many lines were held back since the last one, or None to hold this back.

        ``now`` is in seconds of any one clock.
        """
        last = self._last.get(event)
        if last is not None and 0 <= now - last < self._interval:
            self._suppressed[event] = self._suppressed.get(event, 0) + 1
            return None
        self._last[event] = now
        return self._suppressed.pop(event, 0)


@implementer(ILogObserver)
class Observer:
    """Writes the events that pass to ``stdout``, or ``stderr`` for error and fatal."""

    def __init__(self, choices: LogChoices, stdout: TextIO, stderr: TextIO) -> None:
        self.change(choices)
        self._render = render_pretty if choices.format == "pretty" else render_json
        self._stdout = stdout
        self._stderr = stderr
        self._throttle = Throttle()

    def change(self, choices: LogChoices) -> None:
        """Write by another level, and another form of addresses, from now on."""
        self._least = LEVELS.index(choices.level)
        self._address_mode: Any = choices.client_address

    def __call__(self, event: LogEvent) -> None:
        """Write ``event``, if it passes. Never raises: a log must not end what it tells of."""
        level = _level_of(event)
        namespace = str(event.get("log_namespace") or "")
        ours = namespace == OURS or namespace.startswith(OURS + ".")
        if not self._passes(level, namespace, ours):
            return
        moment = float(event.get("log_time") or 0.0)
        suppressed = self._throttle.admit(_cause(event), moment) if ours and _flood(event) else 0
        if suppressed is None:
            return
        record: dict[str, Any] = {"level": level, "time": iso(moment)}
        record.update(self._own(event) if ours else foreign(event, namespace))
        if suppressed:
            record["suppressed"] = suppressed
        failure = event.get("log_failure")
        if isinstance(failure, Failure):
            record.update(describe_failure(failure))
        stream = self._stderr if level in ("error", "fatal") else self._stdout
        try:
            stream.write(self._render(record) + "\n")
            stream.flush()
        except (OSError, ValueError):
            # A full disk, a closed pipe: there is nowhere left to say so.
            return

    def _passes(self, level: str, namespace: str, ours: bool) -> bool:
        least = self._least
        if not ours and least > 0:
            noisy = namespace.partition(".")[0] in ("autobahn", "txaio")
            least = max(least, LEVELS.index("error" if noisy else "warn"))
        return LEVELS.index(level) >= least

    def _own(self, event: LogEvent) -> dict[str, Any]:
        fields: dict[str, Any] = {}
        for name in FIELDS:
            if name in event and event[name] is not None:
                fields[name] = bounded(event[name])
        if CLIENT_ADDRESS in fields:
            bare = str(fields.pop(CLIENT_ADDRESS)).partition("/")[0]
            shown = displayed(bare, self._address_mode)
            if shown is not None:
                fields[CLIENT_ADDRESS] = shown
        text = event.get("log_format") or fields.get("event") or ""
        msg = _PLACE.sub(lambda found: str(fields.get(found[1], "-")), str(text))
        return {"msg": cut(msg), **fields}


def _level_of(event: LogEvent) -> str:
    level = event.get("log_level")
    name = _LEVEL_NAMES.get(level, "info") if level is not None else "info"
    if name == "fatal" and event.get("log_failure") is not None:
        # Twisted calls every stray exception critical; the process goes on, so it is an error.
        return "error"
    if name == "debug" and event.get("trace") is True:
        return "trace"
    return name


def _flood(event: LogEvent) -> bool:
    """Tell whether a client can bring such lines about as fast as it sends."""
    return event.get(CLIENT_ADDRESS) is not None or event.get("log_failure") is not None


def _cause(event: LogEvent) -> str:
    parts = (event.get(name, "") for name in ("event", "reason", "route", "type"))
    return "|".join([*map(str, parts), str(event.get("log_namespace", ""))])


def make_observer(
    choices: LogChoices, stdout: TextIO | None = None, stderr: TextIO | None = None
) -> Observer:
    """Return the observer that writes the relay's log.

    Args:
        choices: level, format and how much of a client's address is shown.
        stdout: where lines up to warn go. By default the process's own, since ``sys.stdout`` is
            replaced by Twisted, and writing there would come back here.
        stderr: where error and fatal go.
    """
    out = stdout or sys.__stdout__ or sys.stdout
    err = stderr or sys.__stderr__ or sys.stderr
    return Observer(choices, out, err)


def streams_for(options: Mapping[str, Any] | None) -> tuple[TextIO | None, TextIO | None]:
    """Return where ``make_observer`` should write under these options of twistd or twist.

    Our observer takes the place of the one that ``--logfile`` (``--log-file``) is for, so the
    option is honoured here: with it, or as a daemon, whose standard streams are closed, both
    streams are that file.
    """
    if options is None:
        return None, None
    if "nodaemon" not in options:
        file = options.get("logFile")
        return (None, None) if file is sys.__stdout__ else (file, file)
    path = options.get("logfile")
    if path == "-" or (not path and options["nodaemon"]):
        return None, None
    rotated = LogFile.fromFullPath(path or "twistd.log")
    return rotated, rotated


def observe_application(parent: object, observer: ILogObserver) -> bool:
    """Make ``observer`` the log of the Application ``parent``; tell whether it was one.

    For ``setServiceParent`` under twistd, which hands the Application over before logging starts.
    """
    # An Application is a Componentized that is no service itself; a MultiService is the reverse.
    if service.IService.providedBy(parent) or not hasattr(parent, "setComponent"):
        return False
    parent.setComponent(ILogObserver, observer)
    return True


def observe_twist(options: MutableMapping[str, Any], observer: ILogObserver) -> bool:
    """Make ``observer`` the log of twist, by its ``options``; tell whether they were twist's.

    For ``makeService`` under twist, which begins its log afterwards and knows no Application.
    What is written is decided by LOG_LEVEL, so twist's own filter lets everything through.
    """
    if "fileLogObserverFactory" not in options:
        return False
    options["fileLogObserverFactory"] = lambda _file: observer
    options["logLevel"] = LogLevel.debug
    return True
