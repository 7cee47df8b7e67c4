"""The settings: frozen slices, built and checked once, from environment and options.

Each part of the relay gets its own slice. The variables, their defaults and ranges stand in
`settings_table`; what each means for an operator, in ``docs/configuration.md``.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import Any, Literal

import attrs

from twisted_relay import __version__
from twisted_relay.core.listening import ListenSettings, contradiction
from twisted_relay.core.settings_table import DAY, SETTINGS, Setting
from twisted_relay.core.settings_values import Fault, is_placeholder

LEASE_MS = 10_000
"""How long an instance that does not renew them keeps its seats, in a store that several share. A
room in Redis must not expire before that: its members would be forgotten, and not reaped."""

#: What RELAY_ENDPOINTS takes the place of.
_VOID_BESIDE = ("HOST", "PORT")


class SettingsError(Exception):
    """A setting that cannot be used. Its text is one line, and never holds a secret's value."""

    def __init__(self, name: str, fault: str, allowed: str) -> None:
        super().__init__(f"{name}: {fault}; allowed is {allowed}")
        self.name = name
        self.fault = fault
        self.allowed = allowed


@attrs.frozen
class Notice:
    """Something to be said once about the settings, when the log is there."""

    name: str
    text: str
    level: Literal["info", "warn"] = "info"


@attrs.frozen
class LogSettings:
    """What is logged, and how."""

    level: str
    format: str
    requests: bool
    client_address: str
    health_check_failures: bool


@attrs.frozen
class SessionLimits:
    """The limits of one connection, in bytes and ms."""

    max_ws_msg_bytes: int
    max_app_ciphertext_bytes: int
    max_msgs_per_10s: int
    max_bytes_per_10s: int
    slow_consumer_buffer_threshold: int
    ping_interval_ms: int
    ping_timeout_ms: int
    join_timeout_ms: int


@attrs.frozen
class AdmissionLimits:
    """Who may connect. ``allowed_origins`` of None allows any."""

    max_conns_per_ip: int
    max_connects_per_ip_per_min: int
    max_total_connections: int
    allowed_origins: tuple[str, ...] | None
    max_http_per_ip_per_min: int


@attrs.frozen
class RoomLimits:
    """The limits of rooms, in ms."""

    max_participants: int
    key_ttl_ms: int
    empty_grace_ms: int
    qr_rotation_ms: int
    max_creates_per_ip_per_min: int


@attrs.frozen
class TokenSettings:
    """What signs join tokens. A ``secret`` of None asks for a random one."""

    secret: bytes | None = attrs.field(repr=False)
    old_secrets: tuple[bytes, ...] = attrs.field(repr=False)
    next_token_ttl_ms: int


@attrs.frozen
class RedisSettings:
    """The Redis server. A ``url`` of None means the embedded store."""

    url: str | None = attrs.field(repr=False)
    command_timeout_ms: int
    connect_timeout_ms: int


@attrs.frozen
class HttpSettings:
    """HTTP connections and answers. ``cors_allowed_origins`` of None allows any."""

    keep_alive_timeout_ms: int
    cors_allowed_origins: tuple[str, ...] | None
    cors_allow_credentials: bool
    csp_directives: str | None
    hsts_max_age: int
    hsts_include_subdomains: bool
    hsts_preload: bool
    web_client: bool


@attrs.frozen
class Features:
    """The FEATURE_ switches."""

    health_endpoint: bool
    metrics_endpoint: bool
    readiness_endpoint: bool
    graceful_shutdown: bool
    ip_tracking: bool
    token_replay_protection: bool
    slow_consumer_protection: bool
    detailed_errors: bool
    cors: bool
    security_headers: bool
    request_id: bool


@attrs.frozen
class RuntimeSettings:
    """The process. A ``memory_limit_mb`` of None means the container's or machine's."""

    service_version: str
    deployment_env: str
    instance_id: str
    graceful_shutdown_timeout_ms: int
    memory_limit_mb: int | None
    fast_path: bool


@attrs.frozen
class Settings:
    """All settings of one process."""

    listen: ListenSettings
    log: LogSettings
    session: SessionLimits
    admission: AdmissionLimits
    rooms: RoomLimits
    tokens: TokenSettings
    redis: RedisSettings
    http: HttpSettings
    features: Features
    runtime: RuntimeSettings


@attrs.frozen
class Loaded:
    """Checked settings, and what is to be said of them."""

    settings: Settings
    notices: tuple[Notice, ...]


_SLICES: dict[str, Any] = {
    "listen": ListenSettings,
    "log": LogSettings,
    "session": SessionLimits,
    "admission": AdmissionLimits,
    "rooms": RoomLimits,
    "tokens": TokenSettings,
    "redis": RedisSettings,
    "http": HttpSettings,
    "features": Features,
    "runtime": RuntimeSettings,
}


def load_settings(env: Mapping[str, str], options: Mapping[str, str] | None = None) -> Loaded:
    """Build the settings; an option goes before the environment, and empty is as good as unset.

    Args:
        env: variables, with those of a ``.env`` file already put beneath.
        options: values by variable name, as given on the command line.

    Raises:
        SettingsError: for the first value that cannot be used.
    """
    options = options or {}
    values: dict[str, Any] = {}
    given: list[Setting] = []
    for row in SETTINGS:
        text = options.get(row.name, "").strip() or env.get(row.name, "").strip()
        values[row.name] = row.default
        if text:
            values[row.name] = _parse(row, text)
            given.append(row)
    check_relations(values)
    notices = _notices(given, values)
    if values["CORS_ALLOWED_ORIGINS"] is None:
        values["CORS_ALLOW_CREDENTIALS"] = False
    values["INSTANCE_ID"] = values["INSTANCE_ID"] or platform.node() or "relay"
    values["SERVICE_VERSION"] = values["SERVICE_VERSION"] or __version__
    return Loaded(_settings(values), notices)


def _parse(row: Setting, text: str) -> Any:
    try:
        return row.kind.parse(text)
    except Fault as fault:
        raise SettingsError(row.name, str(fault), row.kind.allowed) from None


def check_relations(values: Mapping[str, Any]) -> None:
    """Raise SettingsError for values, by variable, that do not go together."""
    timeout, interval = values["WS_PING_TIMEOUT_MS"], values["WS_PING_INTERVAL_MS"]
    if timeout >= interval:
        raise SettingsError(
            "WS_PING_TIMEOUT_MS",
            f"{timeout} is not less than WS_PING_INTERVAL_MS ({interval})",
            f"a whole number from 10 to {interval - 1}",
        )
    found = contradiction(values)
    if found is not None:
        raise SettingsError(*found)
    if values["REDIS_URL"] is None:
        return
    if values["JOIN_TOKEN_SECRET"] is None:
        raise SettingsError(
            "JOIN_TOKEN_SECRET",
            "it is missing, and REDIS_URL needs it",
            "32 characters or more, the same on every instance",
        )
    if values["ROOM_KEY_TTL_MS"] <= LEASE_MS:
        raise SettingsError(
            "ROOM_KEY_TTL_MS",
            f"{values['ROOM_KEY_TTL_MS']} is not more than an instance's lease, which counts"
            " with REDIS_URL",
            f"a whole number from {LEASE_MS + 1} to {7 * DAY}",
        )


def _notices(given: list[Setting], values: Mapping[str, Any]) -> tuple[Notice, ...]:
    notices = []
    unused = [row.name for row in given if row.effect == "unused"]
    if unused:
        names = ", ".join(unused)
        notices.append(Notice("unused", f"accepted, and of no use to this relay: {names}"))
    if values["RELAY_ENDPOINTS"] and (void := [r.name for r in given if r.name in _VOID_BESIDE]):
        text = f"without effect, as RELAY_ENDPOINTS is set: {', '.join(void)}"
        notices.append(Notice("RELAY_ENDPOINTS", text))
    if values["WEB_CLIENT"] and values["ALLOWED_ORIGINS"] is not None:
        # Not added by itself: by its name a page at any host that leads here would be "our own".
        text = "the web client can connect only where ALLOWED_ORIGINS names the page's own origin"
        notices.append(Notice("WEB_CLIENT", text))
    if is_placeholder(values["JOIN_TOKEN_SECRET"]):
        text = "JOIN_TOKEN_SECRET looks like a published placeholder: choose a random one"
        notices.append(Notice("JOIN_TOKEN_SECRET", text, "warn"))
    if any(is_placeholder(secret) for secret in values["JOIN_TOKEN_SECRETS_OLD"]):
        text = "JOIN_TOKEN_SECRETS_OLD holds what looks like a published placeholder: drop it"
        notices.append(Notice("JOIN_TOKEN_SECRETS_OLD", text, "warn"))
    if values["CORS_ALLOW_CREDENTIALS"] and values["CORS_ALLOWED_ORIGINS"] is None:
        text = "CORS_ALLOW_CREDENTIALS is taken as false, since CORS_ALLOWED_ORIGINS is *"
        notices.append(Notice("CORS_ALLOW_CREDENTIALS", text, "warn"))
    return tuple(notices)


def _settings(values: Mapping[str, Any]) -> Settings:
    fields: dict[str, dict[str, Any]] = {name: {} for name in _SLICES}
    for row in SETTINGS:
        if row.place:
            slice_name, field = row.place.split(".")
            fields[slice_name][field] = values[row.name]
    return Settings(**{name: cls(**fields[name]) for name, cls in _SLICES.items()})
