"""The settings, read as the relay reads them; but a bad one does not stop the doctor."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import attrs

from twisted_relay.core.dotenv import DotenvError, parse_dotenv
from twisted_relay.core.settings import Notice, Settings, SettingsError, load_settings
from twisted_relay.core.settings_table import SETTINGS
from twisted_relay.doctor.findings import SETTINGS as CHAPTER
from twisted_relay.doctor.findings import Finding, fail, ok, skipped
from twisted_relay.doctor.target import Target

_STAND_IN = "stands in for a secret that is missing or cannot be used"
_TCP = re.compile(r"(?:wss:)?(?:haproxy:)?(?:tcp|reuseport):(?:port=)?(\d+)\b(.*)", re.DOTALL)
_INTERFACE = re.compile(r":interface=((?:\\.|[^:])*)")


@attrs.frozen
class Deployment:
    """What the settings say.

    Attributes:
        settings: with the default in place of each value that cannot be used.
        values: the text of what was set, by variable.
        env_file: the file that was read; None if there is none.
        faults: what the relay would not start with, a line each.
        notices: what the relay would say of them.
        unread: whether there is a file that could not be read, so that nothing of it is known.
    """

    settings: Settings = attrs.field(repr=False)
    values: Mapping[str, str] = attrs.field(repr=False)
    env_file: Path | None
    faults: tuple[str, ...]
    notices: tuple[Notice, ...]
    unread: bool = False

    def absent(self, name: str) -> str:
        """Why there is no value of a setting that has none by default."""
        start = "TLS_" if name.startswith("TLS_") else f"{name}:"
        if any(fault.startswith(start) for fault in self.faults):
            return f"{name} cannot be used as it is set: see the check settings"
        if self.unread:
            return f"{name} is not known, as the file of settings cannot be read"
        return f"{name} is not set here"

    @property
    def known(self) -> bool:
        """Whether anything was set at all: without, a relay elsewhere may have other settings."""
        return bool(self.values)

    def default_target(self) -> Target:
        """Where these settings let a relay listen, seen from this machine."""
        listen = self.settings.listen
        secure, host, port = listen.tls_cert_file is not None, listen.host, listen.port
        for endpoint in listen.relay_endpoints:
            found = tcp_address(endpoint)
            if found is not None:
                secure, (host, port) = endpoint.startswith("wss:"), found
                break
        if host in ("0.0.0.0", "::", ""):  # noqa: S104 - what it listens on, to be reached from here
            host = "localhost" if secure else "127.0.0.1"
        return Target(secure, host, port)

    def ops_target(self) -> Target | None:
        """Where OPS_ENDPOINT is, seen from this machine; None without, or if it is no TCP port."""
        endpoint = self.settings.listen.ops_endpoint
        found = None if endpoint is None else tcp_address(endpoint)
        if found is None:
            return None
        host = "127.0.0.1" if found[0] in ("0.0.0.0", "::", "") else found[0]  # noqa: S104
        return Target(bool(endpoint and endpoint.startswith("wss:")), host, found[1])


def tcp_address(endpoint: str) -> tuple[str, int] | None:
    """Interface (empty for any) and port of a Twisted endpoint for TCP; None for another kind."""
    found = _TCP.fullmatch(endpoint)
    if found is None:
        return None
    interface = _INTERFACE.search(found[2])
    return (interface[1].replace("\\", "") if interface else ""), int(found[1])


def read_deployment(environ: Mapping[str, str], named: str | None) -> Deployment:
    """Read the environment and, beneath it, the file ``named`` (None: ``.env``, if it exists)."""
    path = Path(named or ".env")
    found: dict[str, str] = {}
    faults = []
    env_file = path if named is not None or path.is_file() else None
    if env_file is not None:
        try:
            found = parse_dotenv(env_file.read_text(encoding="utf-8"))
        except OSError as error:
            faults.append(f"{str(path)!a}: {error.strerror or type(error).__name__}")
        except DotenvError as error:
            faults.append(f"{str(path)!a}: {error}")
        except UnicodeDecodeError:
            faults.append(f"{str(path)!a}: it is not UTF-8")
    known = {row.name for row in SETTINGS}
    above = {name: value for name, value in environ.items() if value.strip()}
    values = {name: value for name, value in {**found, **above}.items() if name in known}
    settings, notices, bad = _load(values)
    return Deployment(settings, values, env_file, (*faults, *bad), notices, bool(faults))


def _load(values: Mapping[str, str]) -> tuple[Settings, tuple[Notice, ...], list[str]]:
    """The settings, and what is wrong with them: all of it, where the relay stops at the first."""
    left, faults = dict(values), []
    while True:
        try:
            loaded = load_settings(left)
        except SettingsError as error:
            faults.append(str(error))
            if not _without(left, error.name):
                loaded = load_settings({})
                return loaded.settings, (), faults
        else:
            return loaded.settings, loaded.notices, faults


def _without(left: dict[str, str], name: str) -> bool:
    """Take the cause of a fault out of the values that are ``left``; False if it is not known."""
    if name == "JOIN_TOKEN_SECRET":
        # Redis is still to be looked at, and asks for one.
        left[name] = _STAND_IN
        return True
    group = [key for key in left if key == name or (name.startswith("TLS_") and key[:4] == "TLS_")]
    for key in group:
        del left[key]
    return bool(group)


def judge_settings(deployment: Deployment) -> Finding:
    """Whether the relay would start with them."""
    if deployment.faults:
        return fail(
            "settings",
            "; ".join(deployment.faults),
            "Correct it: a relay does not start with such a value, and a reload is refused.",
            CHAPTER,
        )
    if not deployment.known:
        return skipped("settings", "none are set here, and there is no .env file: --env-file")
    source = "the environment" if deployment.env_file is None else str(deployment.env_file)
    more = "".join(f"; {notice.text}" for notice in deployment.notices if notice.level == "info")
    return ok("settings", f"{len(deployment.values)} settings from {source}{more}")
