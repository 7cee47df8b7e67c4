"""Every setting, once: its name, type, default, range and meaning, and where it goes.

The settings are built from this table and the tables of ``docs/configuration.md`` are checked
against it, so that neither can know a setting that the other does not.
"""

from __future__ import annotations

from typing import Any, Literal

import attrs

from twisted_relay.core.settings_values import (
    ENDPOINT,
    ENDPOINTS,
    FILE,
    HEADER,
    HOST,
    ORIGINS,
    PROXIES,
    REDIS_URL,
    SECRET,
    SECRETS,
    SWITCH,
    TEXT,
    Kind,
    choice,
    integer,
)

Effect = Literal["now", "unused"]
"""``now``: in force. ``unused``: accepted, and never of any use."""

HOUR = 3_600_000
DAY = 24 * HOUR
MIB = 1_048_576


@attrs.frozen
class Setting:
    """One environment variable.

    Attributes:
        name: the variable.
        place: ``slice.field`` of `Settings`; empty for what no part reads.
        kind: its type and range.
        default: the value when it is unset or empty.
        meaning: one sentence for the documentation.
        effect: what setting it does in this version.
        shown: the default as documented, where that is not the value itself.
        reload: whether a running process takes a new value up on SIGHUP.
    """

    name: str
    place: str
    kind: Kind
    default: Any
    meaning: str
    effect: Effect = "now"
    shown: str | None = None
    reload: bool = False

    @property
    def default_text(self) -> str:
        """The default as an operator would write it."""
        if self.shown is not None:
            return self.shown
        return str(self.default).lower() if isinstance(self.default, bool) else str(self.default)


def _feature(name: str, meaning: str, effect: Effect = "now", default: bool = True) -> Setting:
    return Setting(f"FEATURE_{name}", f"features.{name.lower()}", SWITCH, default, meaning, effect)


def _unused(name: str, kind: Kind, meaning: str) -> Setting:
    return Setting(name, "", kind, None, meaning, "unused", shown="")


# The rows are kept one a line: they are read as a table.
# ruff: noqa: E501
# fmt: off
SECTIONS: dict[str, tuple[Setting, ...]] = {
    "Listening": (
        Setting("HOST", "listen.host", HOST, "0.0.0.0", "The address to listen on."),  # noqa: S104 - the old service's default, kept
        Setting("PORT", "listen.port", integer(0, 65_535), 3001, "The TCP port for `/ws` and HTTP; 0 takes a free one."),
        Setting("TRUST_PROXY", "listen.trust_proxy", PROXIES, False, "Which peers may name a client's address by X-Forwarded-For: none, those on loopback and private networks, or those of these networks. Of the addresses in the header the last one that is not trusted counts. Also who may connect to a `haproxy:` endpoint."),
        Setting("TLS_CERT_FILE", "listen.tls_cert_file", FILE, None, "The certificate for TLS in PEM, its chain after it; switches TLS on. A renewed one is taken up without a restart.", "now", ""),
        Setting("TLS_KEY_FILE", "listen.tls_key_file", FILE, None, "The private key of that certificate, without a passphrase.", "now", ""),
        Setting("TLS_CLIENT_CA_FILE", "listen.tls_client_ca_file", FILE, None, "Only clients with a certificate from one of these authorities come in.", "now", ""),
        Setting("RELAY_ENDPOINTS", "listen.relay_endpoints", ENDPOINTS, (), "Where to listen instead of HOST and PORT; `wss:` before one puts the TLS of the settings above in front.", "now", ""),
        Setting("OPS_ENDPOINT", "listen.ops_endpoint", ENDPOINT, None, "Where operators connect: `/metrics` and `/health` are served there and no longer on the public port; `/live`, `/ready` and `/healthz` on both.", "now", ""),
    ),
    "Log": (
        Setting("LOG_LEVEL", "log.level", choice("fatal", "error", "warn", "info", "debug", "trace"), "info", "The least level that is written.", reload=True),
        Setting("LOG_FORMAT", "log.format", choice("json", "pretty"), "json", "JSON lines, or a form for people."),
        Setting("LOG_REQUESTS", "log.requests", SWITCH, False, "Write a line for each HTTP request, with its route and never its URL."),
        Setting("LOG_CLIENT_ADDRESS", "log.client_address", choice("none", "truncated", "full"), "truncated", "How much of a client's address is written: nothing, the /24 or /48, or all of it.", reload=True),
        Setting("LOG_HEALTH_CHECK_FAILURES", "log.health_check_failures", SWITCH, True, "Write a line when a check of `/health` begins to fail, each minute while it does, and when it ends."),
    ),
    "Sessions": (
        Setting("MAX_WS_MSG_BYTES", "session.max_ws_msg_bytes", integer(1024, 16 * MIB), 262_144, "The largest frame that a client may send, in bytes.", reload=True),
        Setting("MAX_APP_CIPHERTEXT_BYTES", "session.max_app_ciphertext_bytes", integer(1, 16 * MIB), 65_536, "The longest `ciphertextB64`, in characters.", reload=True),
        Setting("MAX_MSGS_PER_10S", "session.max_msgs_per_10s", integer(1, 1_000_000), 200, "How many frames a connection may send in 10 seconds.", reload=True),
        Setting("MAX_BYTES_PER_10S", "session.max_bytes_per_10s", integer(1024, 1024 * MIB), 1_048_576, "How many bytes a connection may send in 10 seconds; one frame of MAX_WS_MSG_BYTES always fits.", reload=True),
        Setting("SLOW_CONSUMER_BUFFER_THRESHOLD", "session.slow_consumer_buffer_threshold", integer(1024, 1024 * MIB), 524_288, "How many bytes may wait for a slow receiver before its connection is closed.", reload=True),
        Setting("WS_PING_INTERVAL_MS", "session.ping_interval_ms", integer(100, HOUR), 30_000, "The time between pings, in ms."),
        Setting("WS_PING_TIMEOUT_MS", "session.ping_timeout_ms", integer(10, HOUR), 5000, "How long after a ping a connection may stay silent, in ms; less than WS_PING_INTERVAL_MS."),
        Setting("JOIN_TIMEOUT_MS", "session.join_timeout_ms", integer(100, DAY), 60_000, "How long a connection may be in no room, in ms.", reload=True),
    ),
    "Admission": (
        Setting("MAX_CONNS_PER_IP", "admission.max_conns_per_ip", integer(1, 1_000_000), 50, "Connections at once from one address (IPv6: one /64).", reload=True),
        Setting("MAX_CONNECTS_PER_IP_PER_MIN", "admission.max_connects_per_ip_per_min", integer(1, 1_000_000), 300, "New connections in a minute from one address.", reload=True),
        Setting("MAX_TOTAL_CONNECTIONS", "admission.max_total_connections", integer(1, 10_000_000), 10_000, "Connections at once to this process.", reload=True),
        Setting("ALLOWED_ORIGINS", "admission.allowed_origins", ORIGINS, None, "Pages of which origins may connect to `/ws`; clients that send no Origin always may.", "now", "*", reload=True),
        Setting("MAX_HTTP_PER_IP_PER_MIN", "admission.max_http_per_ip_per_min", integer(1, 1_000_000), 200, "Room calls over HTTP in a minute from one address; the probes have no limit.", reload=True),
    ),
    "Rooms": (
        Setting("ROOM_MAX_PARTICIPANTS", "rooms.max_participants", integer(1, 1000), 10, "The most members of a room.", reload=True),
        Setting("ROOM_KEY_TTL_MS", "rooms.key_ttl_ms", integer(1000, 7 * DAY), 600_000, "How long a room that nobody joined is kept, in ms; with REDIS_URL, more than 10000."),
        Setting("ROOM_EMPTY_GRACE_MS", "rooms.empty_grace_ms", integer(0, DAY), 30_000, "How long a room waits for somebody to come back after its last member was lost, in ms.", reload=True),
        Setting("QR_ROTATION_MS", "rooms.qr_rotation_ms", integer(100, DAY), 60_000, "How often a room gets a new invitation token, in ms."),
        Setting("MAX_ROOM_CREATES_PER_IP_PER_MIN", "rooms.max_creates_per_ip_per_min", integer(1, 1_000_000), 10, "Rooms that one address may create in a minute.", reload=True),
    ),
    "Tokens": (
        Setting("JOIN_TOKEN_SECRET", "tokens.secret", SECRET, None, "Signs join tokens; without it a random one serves until the process ends.", "now", "", reload=True),
        Setting("JOIN_TOKEN_SECRETS_OLD", "tokens.old_secrets", SECRETS, (), "Earlier secrets, which still verify and no longer sign.", "now", "", reload=True),
        Setting("NEXT_TOKEN_TTL_MS", "tokens.next_token_ttl_ms", integer(1000, 30 * DAY), DAY, "How long a member may come back with its `nextToken`, in ms."),
    ),
    "Redis": (
        Setting("REDIS_URL", "redis.url", REDIS_URL, None, "The Redis server that instances share; without it rooms live in this process alone. Needs JOIN_TOKEN_SECRET.", "now", ""),
        Setting("REDIS_COMMAND_TIMEOUT_MS", "redis.command_timeout_ms", integer(10, 5000), 2000, "How long a Redis command may take, in ms."),
        Setting("REDIS_CONNECT_TIMEOUT", "redis.connect_timeout_ms", integer(10, 600_000), 10_000, "How long connecting to Redis may take, in ms."),
    ),
    "HTTP": (
        Setting("HTTP_KEEP_ALIVE_TIMEOUT_MS", "http.keep_alive_timeout_ms", integer(1000, HOUR), 65_000, "How long an idle HTTP connection is kept, in ms."),
        Setting("CORS_ALLOWED_ORIGINS", "http.cors_allowed_origins", ORIGINS, None, "Pages of which origins may read the answers to HTTP calls.", "now", "*", reload=True),
        Setting("CORS_ALLOW_CREDENTIALS", "http.cors_allow_credentials", SWITCH, False, "Whether those calls may carry credentials; never with `*`.", reload=True),
        Setting("CSP_DIRECTIVES", "http.csp_directives", HEADER, None, "The Content-Security-Policy of HTTP answers; by default one that allows nothing. The web client keeps its own.", "now", "", reload=True),
        Setting("HSTS_MAX_AGE", "http.hsts_max_age", integer(0, 63_072_000), 31_536_000, "The max-age of Strict-Transport-Security, in seconds; the header is sent over TLS, or where a trusted proxy says `X-Forwarded-Proto: https`.", reload=True),
        Setting("HSTS_INCLUDE_SUBDOMAINS", "http.hsts_include_subdomains", SWITCH, True, "Whether it covers subdomains.", reload=True),
        Setting("HSTS_PRELOAD", "http.hsts_preload", SWITCH, False, "Whether it asks to be preloaded.", reload=True),
        Setting("WEB_CLIENT", "http.web_client", SWITCH, False, "Serve a web client at `/`: who uses it [trusts this relay](#the-web-client) with what is said."),
    ),
    "Process": (
        Setting("SERVICE_VERSION", "runtime.service_version", TEXT, None, "The version that /health and /metrics show.", "now", "the package's"),
        Setting("DEPLOYMENT_ENV", "runtime.deployment_env", TEXT, "production", "The name of the deployment, a label of `relay_build_info`."),
        Setting("INSTANCE_ID", "runtime.instance_id", TEXT, None, "The name of this instance, for display only.", "now", "the host's name"),
        Setting("GRACEFUL_SHUTDOWN_TIMEOUT_MS", "runtime.graceful_shutdown_timeout_ms", integer(0, HOUR), 30_000, "How long a drain may take, in ms."),
        Setting("MEMORY_LIMIT_MB", "runtime.memory_limit_mb", integer(16, 16_777_216), None, "The memory, in MiB, that /health measures against.", "now", "the container's"),
        Setting("FAST_PATH", "runtime.fast_path", SWITCH, True, "Use the relay's own ways through Twisted and Autobahn; false leaves all to them."),
    ),
    "Switches": (
        _feature("HEALTH_ENDPOINT", "Serve `/health`."),
        _feature("METRICS_ENDPOINT", "Serve `/metrics`."),
        _feature("READINESS_ENDPOINT", "Serve `/ready`."),
        _feature("GRACEFUL_SHUTDOWN", "Drain connections before the process ends."),
        _feature("IP_TRACKING", "Count connections for each address."),
        _feature("TOKEN_REPLAY_PROTECTION", "Let a join token serve once only."),
        _feature("SLOW_CONSUMER_PROTECTION", "Close connections that do not read."),
        _feature("DETAILED_ERRORS", "Add status, time and request id to HTTP errors; never anything of the inside.", default=False),
        _feature("CORS", "Let pages of other origins read the answers to HTTP calls."),
        _feature("SECURITY_HEADERS", "Send security headers with HTTP answers."),
        _feature("REQUEST_ID", "Take X-Request-Id (64 letters, digits, dots, hyphens, underscores at most) or make one, send it and log it."),
    ),
    "Without use": (
        _unused("NODE_ENV", TEXT, "Was Node's."),
        _unused("REDIS_MAX_RETRIES_PER_REQUEST", integer(0, 1_000_000), "Was the old Redis client's."),
        _unused("REDIS_ENABLE_READY_CHECK", SWITCH, "Was the old Redis client's."),
        _unused("METRICS_EXPORT_PROMETHEUS", SWITCH, "`/metrics` always can."),
        _unused("METRICS_COLLECTION_INTERVAL_MS", integer(0, DAY), "Metrics are read when they are asked for."),
        _unused("ERROR_ALERT_WEBHOOK_URL", TEXT, "Alerts are made from `/metrics`."),
        _unused("FEATURE_ERROR_ALERTING", SWITCH, "Alerts are made from `/metrics`."),
        _unused("FEATURE_AUTO_ROOM_CLEANUP", SWITCH, "Empty rooms always go."),
    ),
}
# fmt: on

SETTINGS: tuple[Setting, ...] = tuple(row for rows in SECTIONS.values() for row in rows)

_EFFECTS: dict[Effect, str] = {
    "now": "",
    "unused": " *Accepted, without use.*",
}


def markdown_rows(section: str) -> list[str]:
    """The table of one section of ``docs/configuration.md``, as lines."""
    lines = ["| Variable | Default | Allowed | Reload | Meaning |", "|---|---|---|---|---|"]
    for row in SECTIONS[section]:
        default = f"`{row.default_text}`" if row.default_text else ""
        lines.append(
            f"| `{row.name}` | {default} | {row.kind.allowed} "
            f"| {'yes' if row.reload else ''} | {row.meaning}{_EFFECTS[row.effect]} |"
        )
    return lines
