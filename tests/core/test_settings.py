"""Settings: defaults, ranges, refusals and notices; the documentation agrees with the table."""

from __future__ import annotations

import platform
from pathlib import Path

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twisted_relay.core.dotenv import parse_dotenv
from twisted_relay.core.settings import LEASE_MS, Loaded, SettingsError, load_settings
from twisted_relay.core.settings_table import SECTIONS, SETTINGS, markdown_rows
from twisted_relay.engine.interfaces import LEASE_SECONDS

ROOT = Path(__file__).resolve().parents[2]
SECRET = "kX9#vQ2mLp7@wR4tZ8nB6yH3jF5sD1gC"
OLD_SERVICE = f"""
NODE_ENV=production
HOST=0.0.0.0
PORT=3001
LOG_LEVEL=info
LOG_FORMAT=json
LOG_REQUESTS=false
TRUST_PROXY=false
REDIS_URL=
REDIS_MAX_RETRIES_PER_REQUEST=3
REDIS_ENABLE_READY_CHECK=true
REDIS_CONNECT_TIMEOUT=10000
JOIN_TOKEN_SECRET={SECRET!r}
ROOM_MAX_PARTICIPANTS=10
ROOM_KEY_TTL_MS=600000
QR_ROTATION_MS=60000
MAX_WS_MSG_BYTES=262144
MAX_APP_CIPHERTEXT_BYTES=65536
SLOW_CONSUMER_BUFFER_THRESHOLD=524288
GRACEFUL_SHUTDOWN_TIMEOUT_MS=30000
MAX_CONNS_PER_IP=50
MAX_TOTAL_CONNECTIONS=10000
MAX_ROOM_CREATES_PER_IP_PER_MIN=10
MAX_MSGS_PER_10S=200
MAX_BYTES_PER_10S=1048576
WS_PING_INTERVAL_MS=30000
WS_PING_TIMEOUT_MS=5000
CORS_ALLOWED_ORIGINS=*
CORS_ALLOW_CREDENTIALS=false
CSP_DIRECTIVES=default-src 'none'
HSTS_MAX_AGE=31536000
HSTS_INCLUDE_SUBDOMAINS=true
HSTS_PRELOAD=true
METRICS_EXPORT_PROMETHEUS=true
METRICS_COLLECTION_INTERVAL_MS=10000
HTTP_KEEP_ALIVE_TIMEOUT_MS=65000
LOG_HEALTH_CHECK_FAILURES=true
ERROR_ALERT_WEBHOOK_URL=
SERVICE_VERSION=
DEPLOYMENT_ENV=production
INSTANCE_ID=
FEATURE_HEALTH_ENDPOINT=true
FEATURE_METRICS_ENDPOINT=true
FEATURE_READINESS_ENDPOINT=true
FEATURE_GRACEFUL_SHUTDOWN=true
FEATURE_DETAILED_ERRORS=false
FEATURE_CORS=true
FEATURE_SECURITY_HEADERS=true
FEATURE_REQUEST_ID=true
FEATURE_IP_TRACKING=true
FEATURE_TOKEN_REPLAY_PROTECTION=true
FEATURE_SLOW_CONSUMER_PROTECTION=true
FEATURE_AUTO_ROOM_CLEANUP=true
FEATURE_ERROR_ALERTING=false
"""


def fault(**env: str) -> str:
    with pytest.raises(SettingsError) as caught:
        load_settings(env)
    text = str(caught.value)
    assert "\n" not in text
    return text


def warned(loaded: Loaded) -> list[str]:
    return [notice.name for notice in loaded.notices if notice.level == "warn"]


def test_the_old_services_file_loads_unedited_and_means_the_defaults() -> None:
    env = parse_dotenv(OLD_SERVICE)
    assert env.keys() <= {row.name for row in SETTINGS}
    settings = load_settings(env).settings
    expected = attrs.evolve(
        load_settings({}).settings,
        tokens=settings.tokens,
        http=settings.http,
    )
    assert settings == expected
    assert settings.tokens.secret == SECRET.encode()


def test_empty_means_the_default() -> None:
    assert load_settings({row.name: " " for row in SETTINGS}) == load_settings({})


def test_an_option_goes_before_the_environment() -> None:
    assert load_settings({"PORT": "1"}, {"PORT": "2"}).settings.listen.port == 2
    assert load_settings({"PORT": "1"}, {"PORT": ""}).settings.listen.port == 1


def test_an_empty_instance_id_is_the_hosts_name_trap_39() -> None:
    assert load_settings({"INSTANCE_ID": ""}).settings.runtime.instance_id == platform.node()
    assert load_settings({"INSTANCE_ID": "a"}).settings.runtime.instance_id == "a"


@pytest.mark.parametrize("word", ["true", "1", "yes", "on", "TRUE", "Yes", "oN"])
def test_booleans_that_are_true_trap_39(word: str) -> None:
    assert load_settings({"LOG_REQUESTS": word}).settings.log.requests is True


@pytest.mark.parametrize("word", ["false", "0", "no", "off", "FALSE", "No", "oFF"])
def test_booleans_that_are_false_trap_39(word: str) -> None:
    assert load_settings({"FEATURE_IP_TRACKING": word}).settings.features.ip_tracking is False


@pytest.mark.parametrize("word", ["ture", "2", "y", "enabled", "none"])
def test_any_other_boolean_is_an_error_trap_39(word: str) -> None:
    assert fault(LOG_REQUESTS=word).startswith(f"LOG_REQUESTS: '{word}' is neither yes nor no")


def test_no_setting_is_read_nowhere_trap_39() -> None:
    settings = load_settings({}).settings
    fields = {
        f"{part.name}.{field.name}"
        for part in attrs.fields(type(settings))
        for field in attrs.fields(type(getattr(settings, part.name)))
    }
    placed = [row.place for row in SETTINGS if row.place]
    assert sorted(placed) == sorted(fields)
    assert all(row.effect == "unused" for row in SETTINGS if not row.place)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("PORT", "65536"),
        ("PORT", "-1"),
        ("PORT", "3001.0"),
        ("PORT", "0x10"),
        ("PORT", "٣"),
        ("MAX_CONNS_PER_IP", "0"),
        ("MAX_MSGS_PER_10S", "9" * 5000),
        ("LOG_LEVEL", "loud"),
        ("LOG_FORMAT", "xml"),
        ("LOG_CLIENT_ADDRESS", "some"),
        ("HOST", "no such host"),
        ("ALLOWED_ORIGINS", "chat.example"),
        ("ALLOWED_ORIGINS", "https://chat.example/path"),
        ("TRUST_PROXY", "10.0.0.0/99"),
        ("REDIS_URL", "http://x"),
        ("FEATURE_ERROR_ALERTING", "maybe"),
        ("METRICS_COLLECTION_INTERVAL_MS", "often"),
    ],
)
def test_a_bad_value_names_variable_fault_and_what_is_allowed(name: str, text: str) -> None:
    said = fault(**{name: text})
    assert said.startswith(f"{name}: ")
    assert "; allowed is " in said
    assert len(said) < 250


@given(st.sampled_from(SETTINGS), st.text(st.characters(exclude_categories=["Cs"])))
def test_any_value_loads_or_is_one_line(row: object, text: str) -> None:
    name = row.name  # type: ignore[attr-defined]
    try:
        load_settings({name: text})
    except SettingsError as error:
        needed = ("JOIN_TOKEN_SECRET", "WS_PING_TIMEOUT_MS", "TLS_CERT_FILE", "TLS_KEY_FILE")
        assert error.name in (name, *needed)
        assert str(error).isprintable()


def test_a_ping_must_time_out_before_the_next() -> None:
    assert fault(WS_PING_INTERVAL_MS="5000").startswith("WS_PING_TIMEOUT_MS: 5000 is not less")


def test_a_short_secret_is_refused_and_not_shown() -> None:
    said = fault(JOIN_TOKEN_SECRET="hunter2")
    assert said.startswith("JOIN_TOKEN_SECRET: the secret has 7 characters")
    assert "hunter2" not in said
    assert "hunter2" not in fault(JOIN_TOKEN_SECRETS_OLD=f"{SECRET},hunter2")


def test_old_secrets_stand_one_a_line_or_between_commas() -> None:
    old = load_settings({"JOIN_TOKEN_SECRETS_OLD": f"{SECRET},{SECRET}a\n{SECRET}b"})
    assert old.settings.tokens.old_secrets == tuple(f"{SECRET}{x}".encode() for x in ("", "a", "b"))


def test_no_secret_and_no_redis_leave_the_secret_to_chance() -> None:
    assert load_settings({}).settings.tokens.secret is None


URL = "redis://user:hunter2@db:6379/0"


def test_redis_needs_a_secret() -> None:
    said = fault(REDIS_URL=URL)
    assert said.startswith("JOIN_TOKEN_SECRET: it is missing, and REDIS_URL needs it; allowed is ")
    assert "hunter2" not in said


@pytest.mark.parametrize(
    "url",
    [
        URL,
        "rediss://:hunter2@db.example",
        "redis://[::1]:6380/3",
        "unix:///run/redis/redis.sock",
    ],
)
def test_redis_is_in_force_with_its_times_and_shown_nowhere(url: str) -> None:
    loaded = load_settings(
        {
            "REDIS_URL": url,
            "JOIN_TOKEN_SECRET": SECRET,
            "REDIS_COMMAND_TIMEOUT_MS": "700",
            "REDIS_CONNECT_TIMEOUT": "3000",
        }
    )
    redis = loaded.settings.redis
    assert (redis.url, redis.command_timeout_ms, redis.connect_timeout_ms) == (url, 700, 3000)
    assert loaded.notices == ()
    assert url not in repr(loaded)
    assert "hunter2" not in repr(loaded)


@pytest.mark.parametrize(
    "url",
    [
        "amqp://:hunter2@db",
        "redis://:hunter2@",
        "redis://:hunter2@db:0",
        "redis://:hunter2@db:port",
        "redis://:hunter2@db/zero",
        "redis://:hunter2@[::1/0",
        "hunter2",
    ],
)
def test_a_bad_redis_url_is_one_line_without_the_password(url: str) -> None:
    said = fault(REDIS_URL=url, JOIN_TOKEN_SECRET=SECRET)
    assert said.startswith("REDIS_URL: ")
    assert "; allowed is a URL like " in said
    assert "hunter2" not in said


def test_a_room_in_redis_outlives_an_instances_lease() -> None:
    assert LEASE_MS == LEASE_SECONDS * 1000
    env = {"ROOM_KEY_TTL_MS": str(LEASE_MS)}
    assert load_settings(env).settings.rooms.key_ttl_ms == LEASE_MS
    said = fault(REDIS_URL=URL, JOIN_TOKEN_SECRET=SECRET, **env)
    assert said.startswith("ROOM_KEY_TTL_MS: 10000 is not more than an instance's lease")
    assert said.endswith("; allowed is a whole number from 10001 to 604800000")
    env = {"REDIS_URL": URL, "JOIN_TOKEN_SECRET": SECRET, "ROOM_KEY_TTL_MS": str(LEASE_MS + 1)}
    assert load_settings(env).settings.rooms.key_ttl_ms == LEASE_MS + 1


def test_secrets_are_in_no_repr() -> None:
    env = {"JOIN_TOKEN_SECRET": SECRET, "JOIN_TOKEN_SECRETS_OLD": SECRET + "old"}
    assert SECRET not in repr(load_settings(env))


def test_what_is_of_no_use_is_named_once() -> None:
    loaded = load_settings({"NODE_ENV": "production", "METRICS_EXPORT_PROMETHEUS": "true"})
    [notice] = loaded.notices
    assert notice.level == "info"
    assert "NODE_ENV, METRICS_EXPORT_PROMETHEUS" in notice.text


def test_the_web_client_beside_a_list_of_origins_is_spoken_of_once() -> None:
    listed = {"ALLOWED_ORIGINS": "https://chat.example"}
    for env in ({"WEB_CLIENT": "true"}, listed, listed | {"WEB_CLIENT": "false"}):
        assert load_settings(env).notices == ()
    [notice] = load_settings(listed | {"WEB_CLIENT": "true"}).notices
    assert (notice.name, notice.level) == ("WEB_CLIENT", "info")
    assert "ALLOWED_ORIGINS" in notice.text


@pytest.mark.parametrize("text", ["default-src 'self'\r\nX-Evil: 1", "img-src \u00e4", "a\x1b[2J"])
def test_a_policy_that_would_be_more_than_a_header_stops_the_start(text: str) -> None:
    with pytest.raises(SettingsError, match=r"^CSP_DIRECTIVES: ") as caught:
        load_settings({"CSP_DIRECTIVES": text})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "secret",
    [
        "change-me-to-a-long-random-string-please",
        "your-super-secret-key-at-least-32-chars",
        "CHANGEME_CHANGEME_CHANGEME_CHANGEME_",
        "a" * 40,
    ],
)
def test_a_published_placeholder_loads_and_warns(secret: str) -> None:
    assert warned(load_settings({"JOIN_TOKEN_SECRET": secret})) == ["JOIN_TOKEN_SECRET"]
    assert warned(load_settings({"JOIN_TOKEN_SECRET": SECRET})) == []


def test_cors_for_all_loads_without_the_credentials_and_warns() -> None:
    loaded = load_settings({"CORS_ALLOWED_ORIGINS": "*", "CORS_ALLOW_CREDENTIALS": "true"})
    assert loaded.settings.http.cors_allow_credentials is False
    assert warned(loaded) == ["CORS_ALLOW_CREDENTIALS"]


def test_origins_are_compared_as_browsers_write_them() -> None:
    env = {"ALLOWED_ORIGINS": "https://Chat.Example/, http://127.0.0.1:8080"}
    origins = load_settings(env).settings.admission.allowed_origins
    assert origins == ("https://chat.example", "http://127.0.0.1:8080")
    assert load_settings({"ALLOWED_ORIGINS": "*"}).settings.admission.allowed_origins is None


def test_unknown_variables_are_none_of_ours() -> None:
    assert load_settings({"PATH": "/bin", "RELAY_X": "1", "FEATURE_X": "1"}) == load_settings({})


@pytest.mark.parametrize("section", SECTIONS)
def test_the_documentation_has_the_tables_rows(section: str) -> None:
    text = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")
    assert "\n".join(["", f"## {section}", "", *markdown_rows(section), ""]) in text


def test_the_documentation_has_no_other_variables() -> None:
    text = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")
    rows = [line.split("`")[1] for line in text.splitlines() if line.startswith("| `")]
    assert rows == [row.name for row in SETTINGS]


def test_the_example_file_loads_and_shows_the_defaults() -> None:
    text = (ROOT / "etc/relay.env.example").read_text(encoding="utf-8")
    assert load_settings(parse_dotenv(text)) == load_settings({})
    shown = "\n".join(line.removeprefix("#") for line in text.splitlines() if "=" in line)
    known = {row.name: row for row in SETTINGS}
    for name, value in parse_dotenv(shown).items():
        assert value == known[name].default_text


# What about listening goes together, and what does not.

CERT = {"TLS_CERT_FILE": "cert.pem", "TLS_KEY_FILE": "key.pem"}


@pytest.mark.parametrize(
    ("given_settings", "said"),
    [
        ({"TLS_CERT_FILE": "c"}, "TLS_KEY_FILE: it is missing, and TLS_CERT_FILE needs it"),
        ({"TLS_KEY_FILE": "k"}, "TLS_CERT_FILE: it is missing, and TLS_KEY_FILE means nothing"),
        ({"TLS_CLIENT_CA_FILE": "a"}, "TLS_CERT_FILE: it is missing, and TLS_CLIENT_CA_FILE means"),
        ({"RELAY_ENDPOINTS": "wss:tcp:1"}, "TLS_CERT_FILE: it is missing, and an endpoint of"),
        (CERT | {"RELAY_ENDPOINTS": "tcp:1"}, "TLS_CERT_FILE: no endpoint of RELAY_ENDPOINTS uses"),
        ({"RELAY_ENDPOINTS": "3001"}, "RELAY_ENDPOINTS: '3001' is no endpoint"),
        ({"RELAY_ENDPOINTS": "tcp:1 :2"}, "RELAY_ENDPOINTS: ':2' is no endpoint"),
    ],
)
def test_settings_of_listening_that_do_not_go_together(
    given_settings: dict[str, str], said: str
) -> None:
    assert fault(**given_settings).startswith(said)


def test_endpoints_stand_apart_by_blanks_and_line_ends() -> None:
    text = r"tcp:3001:interface=127.0.0.1  unix:/run/my\ relay.sock" + "\n\thaproxy:tcp:1"
    found = load_settings({"RELAY_ENDPOINTS": text}).settings.listen.relay_endpoints
    assert found == ("tcp:3001:interface=127.0.0.1", r"unix:/run/my\ relay.sock", "haproxy:tcp:1")


def test_there_is_one_endpoint_for_operators() -> None:
    where = "tcp:9090:interface=127.0.0.1"
    assert load_settings({"OPS_ENDPOINT": where}).settings.listen.ops_endpoint == where
    assert fault(OPS_ENDPOINT=f"{where} tcp:9091").startswith("OPS_ENDPOINT: ")
    assert fault(OPS_ENDPOINT="9090").startswith("OPS_ENDPOINT: '9090' is no endpoint")


def test_endpoints_take_the_place_of_host_and_port_and_say_so() -> None:
    loaded = load_settings({"RELAY_ENDPOINTS": "tcp:1", "PORT": "2", "HOST": "::1"})
    assert [notice.text for notice in loaded.notices] == [
        "without effect, as RELAY_ENDPOINTS is set: HOST, PORT"
    ]
    beside = CERT | {"RELAY_ENDPOINTS": "wss:tcp:1 tcp:2:interface=127.0.0.1"}
    assert load_settings(beside).notices == ()
