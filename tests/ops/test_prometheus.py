"""Metrics, alerts and dashboards, with the real Prometheus and promtool."""

from __future__ import annotations

import json
import math
import re
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pytest

PACKAGE = "Debian's prometheus"
#: Queries of these panels must show that something goes on, not only that it is counted.
LIVELY = {
    "Active connections",
    "Connections per second",
    "Rejections by reason",
    "Ends by reason",
    "Rooms and members",
    "Messages per second",
    "Received, by type",
    "Sent, by type",
    "Between instances",
    "HTTP answers, by route",
    "Errors by code",
    "HTTP errors, by status",
    "Redis is ready",
    "Latency of a ping",
    "Memory used and limit",
    "CPU, in cores",
    "Network: bytes of messages",
    "Open files, of those allowed",
    "Time since the start",
    "Versions",
}
#: The runbook's dashboards.
ROWS = [
    "Connection Overview",
    "Message Throughput",
    "Error Tracking",
    "Redis Health",
    "System Resources",
]


def promtool(ops: Any, *arguments: object, given: bytes | None = None) -> str:
    done = subprocess.run(
        [ops.find("promtool", PACKAGE), *map(str, arguments)],
        input=given,
        capture_output=True,
        check=False,
        timeout=60,
    )
    output = (done.stdout + done.stderr).decode()
    assert done.returncode == 0, output
    return output


def alerts(ops: Any) -> list[str]:
    return re.findall(r"(?m)^ +- alert: (\w+)$", (ops.etc / "prometheus/alerts.yml").read_text())


def test_the_configuration_and_the_rules_are_valid(ops: Any) -> None:
    promtool(ops, "check", "config", ops.etc / "prometheus/prometheus.yml")
    promtool(ops, "check", "rules", ops.etc / "prometheus/alerts.yml")


def test_each_alert_fires_in_time_and_not_before(ops: Any) -> None:
    cases = Path(__file__).parent / "alerts.test.yml"
    promtool(ops, "test", "rules", cases)
    expected = set(re.findall(r'\{labels: \'\{alertname="(\w+)"', cases.read_text()))
    assert expected == set(alerts(ops)), "each alert has a case that makes it fire"


@pytest.mark.parametrize(
    "threshold",
    ["> 0.05", "> 0.01", "> 0.95", "> 0.8", "> 0.9", "> 0.1", "< 3 * 86400", "< 14 * 86400"],
)
def test_the_cases_notice_another_threshold(ops: Any, tmp_path: Path, threshold: str) -> None:
    rules = (ops.etc / "prometheus/alerts.yml").read_text()
    line = re.compile(rf"{re.escape(threshold)}$", re.MULTILINE)
    assert line.search(rules)
    never = "> 1000" if threshold.startswith(">") else "< -1e9"
    (tmp_path / "alerts.yml").write_text(line.sub(never, rules))
    cases = (Path(__file__).parent / "alerts.test.yml").read_text()
    (tmp_path / "cases.yml").write_text(cases.replace("../../etc/prometheus/", ""))
    with pytest.raises(AssertionError):
        promtool(ops, "test", "rules", tmp_path / "cases.yml")


def test_promtool_accepts_the_metrics(ops: Any, start_relay: Any) -> None:
    relay = start_relay()
    page = relay.http("GET", "/metrics", headers={"Accept": "*/*"})
    assert promtool(ops, "check", "metrics", given=page.body) == ""


class Load:
    """People who chat across two instances, are refused, make mistakes, come and go."""

    def __init__(self, relays: list[Any], refused: type[Exception]) -> None:
        self._relays = relays
        self._refused = refused
        self._ending = threading.Event()
        self.failure: BaseException | None = None
        self._thread = threading.Thread(target=self._guarded, daemon=True)
        self._thread.start()

    def _guarded(self) -> None:
        try:
            self._run()
        except BaseException as failure:
            self.failure = failure

    def _run(self) -> None:
        near, far = self._relays
        room_id, members = near.room(2)
        guest = far.connect()
        guest.join(room_id, far.http_token(room_id))
        while not self._ending.wait(0.1):
            for member in (*members, guest):
                member.say(room_id)
            for member in (*members, guest):
                member.fence()
            for relay in self._relays:
                crowd, full = [], False
                while not full:
                    try:
                        crowd.append(relay.connect())
                    except self._refused:
                        full = True
                crowd[0].send("JOIN_REQUEST", roomId="nobody-is-here", qrToken="none.at-all")
                crowd[0].expect("ERROR")
                for client in crowd:
                    client.leave_cleanly()
                relay.http("GET", "/rooms/nobody-is-here/token")

    def stop(self) -> None:
        self._ending.set()
        self._thread.join(30)


class Prometheus:
    """A real one, with the shipped configuration but for targets and pace."""

    def __init__(self, ops: Any, start_program: Any, folder: Path, targets: list[str]) -> None:
        shipped = (ops.etc / "prometheus/prometheus.yml").read_text()
        assert shipped.count('["127.0.0.1:3001"]') == 1
        config = shipped.replace('["127.0.0.1:3001"]', json.dumps(targets))
        (folder / "prometheus.yml").write_text(config.replace("interval: 15s", "interval: 1s"))
        (folder / "alerts.yml").write_text((ops.etc / "prometheus/alerts.yml").read_text())
        self._folder = folder
        self._program = start_program(
            ops.find("prometheus", PACKAGE),
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            "--web.listen-address=127.0.0.1:0",
        )
        self._address = ops.poll(self._found, "Prometheus' address", 20)

    def _found(self) -> str | None:
        self._program.check_running()
        found = re.search(r"[Ll]istening on\D*address=(\S+)", self._program.output)
        return found.group(1) if found else None

    def ask(self, path: str, **query: str) -> Any:
        url = f"http://{self._address}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)["data"]

    def values(self, query: str) -> list[float]:
        """The numbers that a query finds now."""
        found = self.ask("query", query=query)["result"]
        numbers = (float(sample["value"][1]) for sample in found)
        return [number for number in numbers if math.isfinite(number)]


def dashboard(ops: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ops.etc / "grafana/twisted-relay.json").read_text())
    return found


def concrete(query: str) -> str:
    """A panel's query with its variables filled in as Grafana does."""
    for name, value in (
        ("$__rate_interval", "5s"),
        ("$job", "twisted-relay"),
        ("$instance", ".*"),
    ):
        query = query.replace(name, value)
    assert "$" not in query
    return query


def test_the_runbooks_dashboards_are_rows_of_one_file(ops: Any) -> None:
    panels = dashboard(ops)["panels"]
    assert [panel["title"] for panel in panels if panel["type"] == "row"] == ROWS
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert {panel["title"] for panel in panels} >= LIVELY
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24


def test_no_panel_is_empty_under_load(
    ops: Any, wire: Any, new_cluster: Any, start_program: Any, tmp_path: Path
) -> None:
    cluster = new_cluster(MAX_CONNS_PER_IP="4")
    relays = cluster.grow(2)
    prometheus = Prometheus(
        ops, start_program, tmp_path, [f"127.0.0.1:{relay.port}" for relay in relays]
    )
    wanted = [
        (panel["title"], target["expr"])
        for panel in dashboard(ops)["panels"]
        for target in panel.get("targets", ())
    ]
    load = Load(relays, wire.Refused)
    try:
        ends = time.monotonic() + 30
        while wanted and time.monotonic() < ends:
            time.sleep(1)
            assert load.failure is None, load.failure
            wanted = [
                (title, query)
                for title, query in wanted
                if not (found := prometheus.values(concrete(query)))
                or (title in LIVELY and max(found) <= 0)
            ]
        assert wanted == [], "these panels are empty"
        assert prometheus.values('up{job="twisted-relay"}') == [1.0, 1.0]
        for label, expected in (("job", ["twisted-relay"]), ("instance", None)):
            found = prometheus.ask(f"label/{label}/values", **{"match[]": "uptime_seconds"})
            assert found == expected or (expected is None and len(found) == 2)
        rules = [rule for group in prometheus.ask("rules")["groups"] for rule in group["rules"]]
        assert {rule["name"] for rule in rules} == set(alerts(ops))
        assert {rule["health"] for rule in rules} == {"ok"}
        assert prometheus.values('ALERTS{alertstate="firing"}') == []
    finally:
        load.stop()
