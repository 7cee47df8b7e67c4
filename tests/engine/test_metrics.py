"""Every series is there at 0, under the runbook's exact names, in text and in JSON."""

from __future__ import annotations

import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

from twisted_relay.core.errors import Code
from twisted_relay.engine import metrics as m


@pytest.fixture
def metrics() -> m.Metrics:
    now = [100.0]
    made = m.Metrics(90.0, seconds=lambda: now[0])
    made.limits = {"max_total_connections": 10000}
    made.build = {"version": '1"\\\n'}
    made.read_memory = lambda: (5.0, 10.0)
    return made


def text(metrics: m.Metrics) -> str:
    return m.exposition_text(m.make_registry(metrics)).decode()


def test_trap_33_every_series_is_present_at_0_from_the_first_scrape(metrics: m.Metrics) -> None:
    page = text(metrics)
    for plain in ("total_connections", "ws_disconnections", "redis_errors", "redis_connects"):
        assert f"\n{plain} 0.0\n" in page
        assert f"\n{plain}_total 0.0\n" in page
    for name, label, values in (
        ("ws_connection_rejected", "reason", m.REJECTIONS),
        ("ws_messages_received", "type", m.RECEIVED_TYPES),
        ("ws_messages_sent", "type", m.SENT_TYPES),
        ("unhandled_errors", "path", (*m.ROUTES, *m.RECEIVED_TYPES)),
    ):
        for value in values:
            assert f'\n{name}{{{label}="{value}"}} 0.0\n' in page
            assert f'\n{name}_total{{{label}="{value}"}} 0.0\n' in page
    for code in Code:
        assert f'errors_sent_total{{code="{code.value}"}} 0.0' in page
    for plain in (
        "bus_messages_published",
        "bus_messages_received",
        "bus_messages_refused",
        "leases_reaped",
        "rooms_recovered",
    ):
        assert f"\n{plain}_total 0.0\n" in page
    assert "\nrooms_spanning 0.0\n" in page
    assert 'redis_latency_seconds_bucket{le="+Inf"} 0.0' in page
    assert "\nredis_ready 1.0\n" in page
    assert "\nuptime_seconds 10.0\n" in page
    assert "\nlimit_max_total_connections 10000.0\n" in page
    assert "\nmemory_limit_bytes 10.0\n" in page
    assert "process_cpu_seconds_total" in page
    for route in (*m.ROUTES, "other"):
        for status in m.HTTP_STATUSES:
            assert f'http_requests_total{{route="{route}",status="{status}"}} 0.0' in page
    assert 'event_loop_lag_seconds_bucket{le="+Inf"} 0.0' in page
    for check in ("redis", "memory", "connections"):
        assert f'\nhealth_check_status{{check="{check}"}} 0.0\n' in page
    assert "\nhealth_status 0.0\n" in page


def test_trap_33_one_type_line_for_each_family_and_labels_escaped(metrics: m.Metrics) -> None:
    page = text(metrics)
    types = re.findall(r"(?m)^# TYPE (\S+) (\S+)$", page)
    assert len({name for name, _ in types}) == len(types)
    assert ("total_connections", "untyped") in types
    assert ("total_connections_total", "counter") in types
    assert r'relay_build_info{version="1\"\\\n"} 1.0' in page
    assert "_created" not in page
    assert list(text_string_to_metric_families(page))


def test_counts_reach_both_names(metrics: m.Metrics) -> None:
    metrics.total_connections += 3
    metrics.messages_sent["APP_MSG"] += 2
    page = text(metrics)
    assert "\ntotal_connections 3.0\n" in page
    assert "\ntotal_connections_total 3.0\n" in page
    assert '\nws_messages_sent{type="APP_MSG"} 2.0\n' in page


def test_what_goes_on_between_instances_is_counted(metrics: m.Metrics) -> None:
    metrics.bus_messages_published += 4
    metrics.bus_messages_received += 3
    metrics.bus_messages_refused += 1
    metrics.leases_reaped += 2
    metrics.rooms_recovered += 5
    metrics.rooms_spanning = 6
    metrics.redis_ready = 0
    metrics.redis_latency.observe(0.003)
    found = m.exposition_json(m.make_registry(metrics), 1234)["metrics"]
    values = {name: (row["type"], row["value"]) for name, row in found.items()}
    assert values["bus_messages_published_total"] == ("counter", 4.0)
    assert values["bus_messages_received_total"] == ("counter", 3.0)
    assert values["bus_messages_refused_total"] == ("counter", 1.0)
    assert values["leases_reaped_total"] == ("counter", 2.0)
    assert values["rooms_recovered_total"] == ("counter", 5.0)
    assert values["rooms_spanning"] == ("gauge", 6.0)
    assert values["redis_ready"] == ("gauge", 0.0)
    assert values['redis_latency_seconds_bucket{le="0.005"}'] == ("histogram", 1.0)
    assert values["redis_latency_seconds_count"] == ("histogram", 1.0)


def test_json_form_names_the_runbook_counters_once(metrics: m.Metrics) -> None:
    metrics.total_connections += 1
    page = m.exposition_json(m.make_registry(metrics), 1234)
    assert page["timestamp"] == 1234
    found = page["metrics"]
    assert found["total_connections"] == {"type": "counter", "value": 1.0, "timestamp": 1234}
    assert found['ws_messages_sent{type="ACK"}']["type"] == "counter"
    assert found["active_connections"]["type"] == "gauge"
    assert "total_connections_total" not in found
    assert found["bytes_sent_total"]["type"] == "counter"
    assert 'relay_build_info{version="1\\"\\\\\\n"}' in found


def test_an_unhandled_error_under_an_unknown_path_is_still_counted(metrics: m.Metrics) -> None:
    metrics.count_unhandled("/rooms")
    metrics.count_unhandled("/rooms/abcdefgh/token?x=1")
    assert metrics.unhandled_errors["/rooms"] == 1
    assert metrics.unhandled_errors[m.OTHER] == 1
    assert "abcdefgh" not in text(metrics)


def test_http_answers_are_counted_under_what_no_client_can_invent(metrics: m.Metrics) -> None:
    metrics.count_http("/live", 200)
    metrics.count_http("/rooms/abcdefgh/token", 418)
    assert metrics.http_requests["/live", "200"] == 1
    assert metrics.http_requests["other", "other"] == 1
    assert "abcdefgh" not in text(metrics)


def test_health_is_shown_as_numbers(metrics: m.Metrics) -> None:
    metrics.read_checks = lambda: {"redis": 2, "memory": 1, "connections": 0}
    page = text(metrics)
    assert '\nhealth_check_status{check="redis"} 2.0\n' in page
    assert "\nhealth_status 2.0\n" in page


def test_histogram_is_cumulative() -> None:
    h = m.Histogram((0.01, 0.1))
    for seconds in (0.001, 0.01, 0.05, 3.0):
        h.observe(seconds)
    assert h.buckets() == [("0.01", 2.0), ("0.1", 3.0), ("+Inf", 4.0)]
    assert h.total == pytest.approx(3.061)
