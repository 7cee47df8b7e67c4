"""What ``twistd relay`` and ``twist relay`` understand, and how it becomes a service.

Settings are checked as the options are parsed, so before the process daemonises. Nothing here
imports the reactor: ``--reactor`` must still have its say when this module is loaded.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, NoReturn

from twisted.application.service import IService
from twisted.python import usage

from twisted_relay import __version__
from twisted_relay.core.dotenv import DotenvError, parse_dotenv
from twisted_relay.core.listening import ListenSettings
from twisted_relay.core.settings import Loaded, SettingsError, load_settings
from twisted_relay.core.settings_table import SETTINGS

_VARIABLES = {
    "host": "HOST",
    "port": "PORT",
    "log-level": "LOG_LEVEL",
    "log-format": "LOG_FORMAT",
    "redis-url": "REDIS_URL",
    "max-total-connections": "MAX_TOTAL_CONNECTIONS",
    "trust-proxy": "TRUST_PROXY",
}

_LIMIT_SLICES = ("session", "admission", "rooms")
# A URL of Redis may hold a password.
_NEVER_SHOWN = ("REDIS_URL",)


class Options(usage.Options):
    """The options of ``twistd relay``; once parsed, ``self["loaded"]`` is a `Loaded`."""

    synopsis = "[options]"
    longdesc = (
        "Relays end-to-end encrypted group chat: /ws for clients, /rooms, and the probes /live, "
        "/ready, /health and /metrics, all on one port. Every setting is an environment variable "
        "or a line of a .env file (see docs/configuration.md); the most used are options as "
        "well. An option goes before the environment, the environment before the file."
    )
    optParameters: ClassVar[list[list[Any]]] = [
        ["host", None, None, "Address to listen on (HOST, 0.0.0.0)."],
        ["port", "p", None, "TCP port for /ws and HTTP; 0 takes a free one (PORT, 3001)."],
        ["env-file", None, None, "File of settings (.env in the working directory, if it exists)."],
        ["log-level", None, None, "fatal, error, warn, info, debug or trace (LOG_LEVEL, info)."],
        ["log-format", None, None, "json, or pretty for people (LOG_FORMAT, json)."],
        [
            "redis-url",
            None,
            None,
            "Redis server that instances share (REDIS_URL; ps shows options).",
        ],
        ["max-total-connections", None, None, "Most clients at once (MAX_TOTAL_CONNECTIONS)."],
        ["trust-proxy", None, None, "Proxies to believe (TRUST_PROXY, false)."],
    ]
    optFlags: ClassVar[list[list[Any]]] = [
        ["check", None, "Check the settings, print what would run, and exit."],
    ]

    def __init__(self) -> None:
        super().__init__()
        self.endpoints: list[str] = []

    def opt_endpoint(self, endpoint: str) -> None:
        """Where to listen, a Twisted endpoint like tcp:3001; may be repeated (RELAY_ENDPOINTS)."""
        self.endpoints.append(endpoint)

    opt_e = opt_endpoint

    def opt_version(self) -> NoReturn:
        """Print the version of twisted-relay and exit."""
        sys.stdout.write(f"twisted-relay {__version__}\n")
        raise SystemExit(0)

    def postOptions(self) -> None:
        """Check the settings. A fault is one line on stderr and exit status 1.

        A UsageError would not do: for one, twistd and twist print their whole usage.
        """
        # Late: --reactor has had its say.
        from twisted.internet import reactor

        from twisted_relay.shell.endpoints import check

        given = {variable: self[option] for option, variable in _VARIABLES.items() if self[option]}
        if self.endpoints:
            given["RELAY_ENDPOINTS"] = " ".join(self.endpoints)
        source = Source(self["env-file"], os.environ, given)
        try:
            loaded = source.read()
            check(loaded.settings.listen, reactor)
        except SettingsError as error:
            sys.stderr.write(f"{error}\n")
            raise SystemExit(1) from None
        self["loaded"], self["source"] = loaded, source
        if self["check"]:
            sys.stdout.write(describe(loaded))
            raise SystemExit(0)


class Source:
    """Where the settings come from, so that they can be read again.

    Args:
        named: the file of settings; None for ``.env``, which need not exist.
        environ: the environment, as it is now.
        given: options, by variable.
    """

    def __init__(
        self, named: str | None, environ: Mapping[str, str], given: Mapping[str, str]
    ) -> None:
        self._shown = named or ".env"
        # A daemon may go to another directory.
        self._path = Path(self._shown).absolute()
        self._needed = named is not None or self._path.is_file()
        self._environ = dict(environ)
        self._given = dict(given)

    def read(self) -> Loaded:
        """Read the file and check all; raises SettingsError.

        A file that was there once must still be there: settings do not become defaults because a
        file was mislaid.
        """
        return load_settings(self._environment(), self._given)

    def _environment(self) -> dict[str, str]:
        """The variables of the file, with the environment's above them where not empty."""
        if not self._needed and not self._path.is_file():
            return self._environ
        self._needed = True
        try:
            found = parse_dotenv(self._path.read_text(encoding="utf-8"))
        except OSError as error:
            fault = error.strerror or type(error).__name__
        except DotenvError as error:
            fault = str(error)
        except UnicodeDecodeError:
            fault = "it is not UTF-8"
        else:
            above = {name: value for name, value in self._environ.items() if value.strip()}
            return {**found, **above}
        allowed = "a readable file of NAME=value lines in UTF-8"
        raise SettingsError("--env-file", f"{self._shown!a}: {fault}", allowed)


def _addresses(listen: ListenSettings) -> list[str]:
    if listen.relay_endpoints:
        return [f"endpoint: {text}" for text in listen.relay_endpoints]
    scheme = "http" if listen.tls_cert_file is None else "https"
    host = f"[{listen.host}]" if ":" in listen.host else listen.host
    return [f"address: {scheme}://{host}:{listen.port}"]


def describe(loaded: Loaded) -> str:
    """What would run, for ``--check``: never the value of a secret."""
    settings = loaded.settings
    secret = "random, for the life of the process" if not settings.tokens.secret else "configured"
    shared = settings.redis.url is not None
    store = "redis, at the server of REDIS_URL" if shared else "embedded"
    slices = (*_LIMIT_SLICES, "redis") if shared else _LIMIT_SLICES
    lines = [
        f"twisted-relay {__version__}",
        *_addresses(settings.listen),
        f"store: {store}",
        f"web client: {'at /' if settings.http.web_client else 'off'}",
        f"join token secret: {secret}; old secrets: {len(settings.tokens.old_secrets)}",
        "limits:",
    ]
    for row in SETTINGS:
        slice_name, _, field = row.place.partition(".")
        if slice_name in slices and row.effect == "now" and row.name not in _NEVER_SHOWN:
            value = getattr(getattr(settings, slice_name), field)
            shown = "*" if value is None else value
            lines.append(f"  {row.name}={', '.join(shown) if isinstance(shown, tuple) else shown}")
    lines += [f"{notice.level}: {notice.text}" for notice in loaded.notices]
    return "\n".join(lines) + "\n"


def makeService(options: Options) -> IService:
    """Make the relay's service from parsed options; called by twistd and twist."""
    # Late, since the modules beneath install the default reactor as they are imported.
    from twisted_relay.shell.service import make_service

    loaded: Loaded = options["loaded"]
    return make_service(loaded, options.parent, options["source"].read)
