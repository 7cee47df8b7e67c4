"""The order of the runs, the medians, the verdicts and the page."""

from __future__ import annotations

import io
import re

import pytest

from benchmarks.harness import chart, page, tables
from benchmarks.harness.loads import ALL, CORKED, FASTIFY, FULL, OURS, QUICK, TLS, Load
from benchmarks.harness.paths import PAGE, CannotRun
from benchmarks.harness.progress import Progress
from benchmarks.harness.rounds import schedule
from benchmarks.harness.runs import Run, figures_of
from benchmarks.harness.summary import Summary, summarise
from benchmarks.harness.targets import TARGETS, Target, extra_us_per_message

W4 = "r10-256-w4"


def summary_of(*values: tuple[str, str, str, float]) -> Summary:
    return summarise(
        Run(load, server, number, {name: value})
        for number, (load, server, name, value) in enumerate(values)
    )


def test_every_other_round_goes_backwards() -> None:
    load = Load("one", "", "closed", 1, 2, ("a", "b", "c"))
    order = [server for _, _, server in schedule([load], ["a", "c"], 3)]
    assert order == ["a", "c", "c", "a", "a", "c"]


def test_all_loads_have_keys_of_their_own_and_quick_ones_are_among_them() -> None:
    keys = [load.key for load in (*FULL, *TLS)]
    assert len(set(keys)) == len(keys)
    assert {load.key for load in QUICK} <= set(keys)


def test_quick_is_done_in_two_minutes() -> None:
    steps = schedule(QUICK, ALL, 1)
    assert sum(load.nominal_seconds for _, load, _ in steps) < 110  # the rest is for building


def test_the_median_and_the_spread_of_the_rounds() -> None:
    found = summary_of(*((W4, OURS, "cpu_per_million", value) for value in (4.0, 6.0, 5.0)))
    figure = found.get(W4, OURS, "cpu_per_million")
    assert figure is not None
    assert (figure.value, figure.spread, figure.rounds) == (5.0, 0.4, 3)
    assert found.spreads == [0.4]


def test_a_run_with_a_fault_gives_no_figure() -> None:
    found = summarise([Run(W4, OURS, 0, {}, fault="1 lost", wrong=True)])
    assert not found.ran(W4, OURS)
    assert "**wrong deliveries**: 1 lost" in tables.faults(found)


@pytest.mark.parametrize(("ours", "holds"), [(1.9, "yes"), (2.1, "NO")])
def test_a_target_is_told_with_its_verdict(ours: float, holds: str) -> None:
    found = summary_of((W4, OURS, "cpu_per_million", ours), (W4, FASTIFY, "cpu_per_million", 10.0))
    row = next(
        line
        for line in tables.targets(found).splitlines()
        if line.startswith("| R=10, 256 B, W=4: CPU, to the Fastify peer")
    )
    assert row.endswith(f"| {holds} |")
    assert "not measured" in tables.targets(found)


def test_tls_is_held_against_the_same_load_without() -> None:
    found = summary_of(
        (W4, OURS, "cpu_per_million", 3.0), (f"{W4}-tls", OURS, "cpu_per_million", 6.0)
    )
    target = next(target for target in TARGETS if "TLS" in target.text)
    assert target.verdict(found) == (2.0, True)


def test_a_target_may_be_a_least_value() -> None:
    found = summary_of(("join", OURS, "joins_per_cpu_second", 30.0),
                       ("join", FASTIFY, "joins_per_cpu_second", 10.0))  # fmt: skip
    target = next(target for target in TARGETS if target.at_least)
    assert target.verdict(found) == (3.0, True)
    assert Target("x", lambda _: 1.0, 1.5, at_least=True).verdict(found) == (1.0, False)


def test_the_extra_of_two_instances_is_a_difference() -> None:
    found = summary_of(
        ("two-local", OURS, "cpu_us_per_message", 200.0),
        ("two-split", OURS, "cpu_us_per_message", 320.0),
    )
    assert extra_us_per_message(found) == 120.0
    assert extra_us_per_message(summary_of()) is None


def test_figures_come_from_what_the_generator_counted() -> None:
    counted = {
        "seconds": 2.0, "server_cpu": 1.0, "generator_cpu": 0.5, "deliveries": 100_000,
        "messages": 10_000, "resident_kib": 2048, "resident_before_kib": 1024,
        "connections": 64, "joined": 50,
        "latency_us": {"p50": 100, "p99": 2000, "p99_9": 3000},
    }  # fmt: skip
    closed = figures_of(FULL[0], counted)
    assert closed["cpu_per_million"] == pytest.approx(10.0)
    assert closed["cpu_us_per_message"] == pytest.approx(100.0)
    assert closed["deliveries_per_second"] == 50_000
    assert closed["p99_ms"] == 2.0
    by_mode = {load.mode: load for load in FULL}
    assert figures_of(by_mode["join"], counted)["cpu_ms_per_join"] == 20.0
    assert figures_of(by_mode["idle"], counted)["kib_per_connection"] == 16.0


def test_the_measured_part_of_the_page_is_replaced_and_nothing_else() -> None:
    before = f"# Title\n\n{page.BEGIN}\n\nold\n\n{page.END}\n\nafter\n"
    after = page.replaced(before, "new | table")
    assert after == f"# Title\n\n{page.BEGIN}\n\nnew | table\n\n{page.END}\n\nafter\n"
    assert page.replaced(after, "new | table") == after
    with pytest.raises(CannotRun):
        page.replaced("# Title\n", "new")


def test_the_page_has_its_marks() -> None:
    page.replaced(PAGE.read_text(encoding="utf-8"), "anything")


def test_the_report_has_each_load_that_ran() -> None:
    found = summary_of(
        *((load.key, OURS, "cpu_per_million", 5.0) for load in FULL),
        *((load.key, CORKED, "cpu_per_million", 3.0) for load in FULL),
    )
    text = tables.report(found, FULL, {"processor": "some"})
    for load in FULL:
        if load.mode == "closed":
            assert f"| {load.title} | 5.00 | 3.00 |" in text
    assert "| processor | some |" in text
    for line in text.splitlines():
        if line.startswith("|"):
            assert line.endswith("|")


def test_a_server_that_was_not_saturated_is_named() -> None:
    load = next(load for load in FULL if load.key == W4)
    values = {(OURS, "server_share"): 0.99, (OURS, "generator_share"): 0.6,
              (FASTIFY, "server_share"): 0.5, (FASTIFY, "generator_share"): 1.0}  # fmt: skip
    found = summary_of(*((W4, server, name, value) for (server, name), value in values.items()))
    text = tables.saturation(found, [load])
    assert "50% of their processor or more, the generator 100%" in text
    assert "Fastify + ws (R=10, 256 B, W=4)" in text
    assert "twisted-relay" not in text


def test_the_chart_draws_a_bar_for_each_figure() -> None:
    found = summary_of((W4, OURS, "cpu_per_million", 5.0), (W4, FASTIFY, "cpu_per_million", 25.0))
    picture = chart.draw(found, FULL)
    widths = re.findall(r'<rect x="170" y="\d+" width="([\d.]+)"', picture)
    assert len(widths) == 2
    assert float(widths[1]) == pytest.approx(5 * float(widths[0]), rel=0.01)
    assert picture.count("<svg") == picture.count("</svg>") == 1


def test_progress_reaches_its_end() -> None:
    out = io.StringIO()
    progress = Progress(10.0, out)
    progress.begin("first", 5.0)
    progress.tick()
    progress.begin("second", 5.0)
    progress.end()
    lines = out.getvalue().splitlines()
    assert "  0%" in lines[0]
    assert " 50%" in lines[1]
    assert lines[2].startswith("[" + "#" * 24 + "] 100%  0:00 left")
