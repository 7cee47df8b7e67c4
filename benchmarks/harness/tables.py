"""The figures as Markdown: what a reader of docs/performance.md and of the terminal sees."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from benchmarks.harness.loads import ALL, Load
from benchmarks.harness.servers import TITLES
from benchmarks.harness.summary import Figure, Summary
from benchmarks.harness.targets import TARGETS

Column = tuple[str, str, str]
"""A heading, the name of a figure, and the format of its value."""

BUSY = 0.9
"""The share of its processor from which on a server counts as saturated."""

RATE_COLUMNS: tuple[Column, ...] = (
    ("CPU s per million", "cpu_per_million", ".2f"),
    ("of a processor", "server_share", ".0%"),
    ("p50 ms", "p50_ms", ".2f"),
    ("p99 ms", "p99_ms", ".2f"),
    ("p99.9 ms", "p99_9_ms", ".2f"),
)
JOIN_COLUMNS: tuple[Column, ...] = (
    ("joins a second", "joins_per_second", ",.0f"),
    ("CPU ms for each", "cpu_ms_per_join", ".3f"),
    ("joins per CPU second", "joins_per_cpu_second", ",.0f"),
)
IDLE_COLUMNS: tuple[Column, ...] = (
    ("KiB for each connection", "kib_per_connection", ".1f"),
    ("MiB in all", "resident_mib", ",.0f"),
)
TWO_COLUMNS: tuple[Column, ...] = (
    ("CPU µs per message, both", "cpu_us_per_message", ".0f"),
    *RATE_COLUMNS,
)


def table(head: Sequence[str], rows: Iterable[Sequence[str]], words: bool = False) -> str:
    """A Markdown table; columns after the first are set to the right, unless they are `words`."""
    rest = ("---|" if words else "---:|") * (len(head) - 1)
    lines = [f"| {' | '.join(head)} |", f"|---|{rest}"]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join(lines)


def _cell(figure: Figure | None, form: str) -> str:
    if figure is None:
        return "-"
    spread = f" ±{figure.spread / 2:.0%}" if figure.rounds > 1 else ""
    return f"{figure.value:{form}}{spread}"


def _servers(summary: Summary, loads: Sequence[Load]) -> list[str]:
    return [name for name in ALL if any(summary.ran(load.key, name) for load in loads)]


def across(summary: Summary, loads: Sequence[Load], name: str, form: str) -> str:
    """One figure: a row for each load, a column for each server."""
    servers = _servers(summary, loads)
    rows = [
        [load.title, *(_cell(summary.get(load.key, server, name), form) for server in servers)]
        for load in loads
    ]
    return table(["load", *(TITLES[server] for server in servers)], rows)


def of_one(summary: Summary, load: Load, columns: Sequence[Column]) -> str:
    """One load: a row for each server, a column for each figure."""
    rows = [
        [TITLES[server], *(_cell(summary.get(load.key, server, n), form) for _, n, form in columns)]
        for server in _servers(summary, [load])
    ]
    return table(["server", *(heading for heading, _, _ in columns)], rows)


def of_several(summary: Summary, loads: Sequence[Load], columns: Sequence[Column]) -> str:
    """Our server alone: a row for each load."""
    rows = [
        [load.title, *(_cell(summary.get(load.key, "ours", n), form) for _, n, form in columns)]
        for load in loads
    ]
    return table(["load", *(heading for heading, _, _ in columns)], rows)


def targets(summary: Summary) -> str:
    """Which targets hold, of those that were measured."""
    rows = []
    for target in TARGETS:
        verdict = target.verdict(summary)
        if verdict is None:
            rows.append([target.text, "", "not measured", "-"])
            continue
        value, holds = verdict
        wanted = f"{'at least' if target.at_least else 'at most'} {target.limit:.3g} {target.unit}"
        rows.append([target.text, wanted, f"{value:.3g} {target.unit}", "yes" if holds else "NO"])
    return table(["target", "wanted", "measured", "holds"], rows)


def faults(summary: Summary) -> str:
    """The runs that gave no figures, in one list; empty when there are none."""
    lines = [
        f"- {TITLES[run.server]}, {run.load}, round {run.round + 1}: "
        + ("**wrong deliveries**: " if run.wrong else "")
        + run.fault.replace("\n", " ")
        for run in summary.faults
    ]
    return "\n".join(lines)


def noise(summary: Summary) -> str:
    """How far the rounds were apart, in a sentence."""
    spreads = summary.spreads
    if not spreads:
        return "There was one round, so the noise is not known: no difference below a third counts."
    middle, worst = spreads[len(spreads) // 2] / 2, spreads[-1] / 2
    return (
        f"± is half the distance of the lowest and the highest round, by the median. For the "
        f"processor time and the memory it was {middle:.0%} in the middle of all cells and "
        f"{worst:.0%} in the worst: a smaller difference between two servers says nothing."
    )


def saturation(summary: Summary, loads: Sequence[Load]) -> str:
    """Whether it was the servers that had no more to give, in a sentence or two."""
    cells = [(load, server) for load in loads for server in ALL if summary.ran(load.key, server)]
    shares = {
        (load, server): summary.value(load.key, server, "server_share") or 0.0
        for load, server in cells
    }
    generator = [
        summary.value(load.key, server, "generator_share") or 0.0 for load, server in cells
    ]
    text = (
        f"The servers used {min(shares.values(), default=0.0):.0%} of their processor or more, the "
        f"generator {max(generator, default=0.0):.0%} of its own at most."
    )
    idle = [f"{TITLES[server]} ({load.title})" for (load, server), s in shares.items() if s < BUSY]
    if idle:
        text += (
            f" **Not saturated, so that their deliveries a second say little: {', '.join(idle)}.**"
        )
    return text


def _sections(summary: Summary, loads: Sequence[Load]) -> Iterable[tuple[str, str]]:
    closed = [load for load in loads if load.mode == "closed"]
    if closed:
        name = "Server CPU seconds per million deliveries, saturated"
        yield name, across(summary, closed, "cpu_per_million", ".2f")
        name = "Deliveries a second, saturated"
        rates = across(summary, closed, "deliveries_per_second", ",.0f")
        yield name, f"{rates}\n\n{saturation(summary, closed)}"
    for load in loads:
        single = load.instances == 1
        if load.mode == "rate" and single:
            yield f"A fixed {load.title}", of_one(summary, load, RATE_COLUMNS)
        elif load.mode == "join":
            yield "Connect and join, with Redis", of_one(summary, load, JOIN_COLUMNS)
        elif load.mode == "idle":
            yield load.title, of_one(summary, load, IDLE_COLUMNS)
    two = [load for load in loads if load.instances > 1]
    if two:
        yield "Two instances over Redis", of_several(summary, two, TWO_COLUMNS)


def report(
    summary: Summary, loads: Sequence[Load], machine: dict[str, str], heading: str = "###"
) -> str:
    """Everything that was measured, without the chart."""
    about = table(["", ""], [[name, value] for name, value in machine.items()], words=True)
    parts = [
        f"{summary.runs} runs, {summary.checked:,} deliveries checked. {noise(summary)}",
        *(f"{heading} {name}\n\n{body}" for name, body in _sections(summary, loads)),
        f"{heading} Targets\n\n{targets(summary)}",
        f"{heading} Measured on\n\n{about}",
    ]
    if summary.faults:
        parts.insert(1, f"{heading} Runs without figures\n\n{faults(summary)}")
    return "\n\n".join(parts)
