"""The files for operators keep up with the code: times, names of metrics, ports and paths."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from twisted_relay.core.settings import load_settings
from twisted_relay.core.settings_table import SETTINGS
from twisted_relay.engine import health
from twisted_relay.engine.metrics import Metrics, exposition_text, make_registry
from twisted_relay.shell.probes import configured_limits

ROOT = Path(__file__).parents[1]
ETC = ROOT / "etc"
ALERTS = (ETC / "prometheus/alerts.yml").read_text(encoding="utf-8")
DASHBOARD = json.loads((ETC / "grafana/twisted-relay.json").read_text(encoding="utf-8"))

#: Where a supervisor is told how long to wait before it kills, and in what unit, in ms.
GRACE = {
    "etc/systemd/twisted-relay.service": (r"(?m)^TimeoutStopSec=(\d+)$", 1000),
    "etc/systemd/twisted-relay@.service": (r"(?m)^TimeoutStopSec=(\d+)$", 1000),
    "etc/pm2/ecosystem.config.cjs": (r"(?m)^ *kill_timeout: (\d+),$", 1),
    "compose.yaml": (r"(?m)^ *stop_grace_period: (\d+)s$", 1000),
}


def default(name: str) -> object:
    (found,) = (row.default for row in SETTINGS if row.name == name)
    return found


@pytest.mark.parametrize("path", sorted(GRACE))
def test_supervisors_wait_for_the_drain_and_five_seconds(path: str) -> None:
    pattern, unit = GRACE[path]
    (seconds,) = re.findall(pattern, (ROOT / path).read_text(encoding="utf-8"))
    assert int(seconds) * unit == int(str(default("GRACEFUL_SHUTDOWN_TIMEOUT_MS"))) + 5000


@pytest.mark.parametrize(
    "path",
    [
        "compose.yaml",
        "Dockerfile",
        "etc/haproxy/haproxy.cfg",
        "etc/haproxy/compose.cfg",
        "etc/nginx/twisted-relay.conf",
        "etc/pm2/ecosystem.config.cjs",
        "etc/prometheus/prometheus.yml",
        "etc/systemd/twisted-relay.socket",
    ],
)
def test_the_port_is_the_default_one(path: str) -> None:
    text = (ROOT / path).read_text(encoding="utf-8")
    assert re.search(rf"\b{default('PORT')}\b", text)


def series() -> set[str]:
    """The name of every series that a relay shows."""
    metrics = Metrics(0.0)
    metrics.read_expiry = lambda: 0.0  # as with TLS
    settings = load_settings({}).settings
    metrics.limits = configured_limits(settings.session, settings.admission, settings.rooms)
    page = exposition_text(make_registry(metrics)).decode()
    return set(re.findall(r"(?m)^([a-z_:]+)[ {]", page)) | {"up"}


def named(query: str) -> set[str]:
    """The series that a query asks for: names before a selector."""
    return set(re.findall(r"\b([a-z_:]+)\{", query))


def test_alerts_and_dashboards_ask_for_what_there_is() -> None:
    queries = [
        target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", ())
    ]
    assert len(queries) > 40
    missing = {name for query in (*queries, ALERTS) for name in named(query)} - series()
    assert not missing


def test_the_alerts_have_the_thresholds_of_health() -> None:
    for name, share in (
        ("RelayMemoryCritical", health.MEMORY_FAIL),
        ("RelayMemoryHigh", health.MEMORY_WARN),
        ("RelayConnectionsHigh", health.CONNECTIONS_WARN),
        ("RelayRedisSlow", health.LATENCY_WARN_MS / 1000),
    ):
        rule = ALERTS[ALERTS.index(f"alert: {name}\n") + 7 :].partition("- alert:")[0]
        (threshold,) = re.findall(r"> (0\.\d+)$", rule, re.MULTILINE)
        assert float(threshold) == share


def test_units_and_files_name_settings_that_exist() -> None:
    known = {row.name for row in SETTINGS}
    for path in (*ETC.glob("systemd/*"), *ETC.glob("haproxy/*"), *ETC.glob("nginx/*")):
        for name in re.findall(r"\b([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)\b", path.read_text()):
            assert name in known | {"AF_INET", "AF_INET6", "AF_UNIX"}, f"{path.name}: {name}"
