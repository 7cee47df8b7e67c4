"""Medians over the rounds, and how far apart the rounds were."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median
from typing import Any, TypedDict

from benchmarks.harness.runs import Run


class Results(TypedDict):
    """What a benchmark leaves behind, as it is kept in a file: `runs` are the fields of Run."""

    machine: dict[str, str]
    loads: list[str]
    runs: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of one server under one load.

    Attributes:
        value: the median of the rounds.
        spread: (greatest - least) / median; 0 with one round.
        rounds: how many rounds there were.
    """

    value: float
    spread: float
    rounds: int


@dataclass(frozen=True, slots=True)
class Summary:
    """All figures by load, server and name, and what went wrong."""

    figures: dict[tuple[str, str, str], Figure]
    faults: list[Run]
    checked: int
    runs: int

    def get(self, load: str, server: str, name: str) -> Figure | None:
        return self.figures.get((load, server, name))

    def value(self, load: str, server: str, name: str) -> float | None:
        figure = self.get(load, server, name)
        return None if figure is None else figure.value

    def ran(self, load: str, server: str) -> bool:
        return any(key[:2] == (load, server) for key in self.figures)

    def fault(self, load: str, server: str) -> str:
        return next((r.fault for r in self.faults if (r.load, r.server) == (load, server)), "")

    @property
    def spreads(self) -> list[float]:
        """Of the processor time per delivery or join and of the memory, sorted: the noise."""
        return sorted(
            figure.spread
            for (_, _, name), figure in self.figures.items()
            if name in ("cpu_per_million", "cpu_ms_per_join", "kib_per_connection")
            and figure.rounds > 1
        )


def summarise(runs: Iterable[Run]) -> Summary:
    """Runs with a fault give no figures."""
    values: dict[tuple[str, str, str], list[float]] = {}
    faults: list[Run] = []
    checked = count = 0
    for run in runs:
        count += 1
        checked += run.checked
        if run.fault:
            faults.append(run)
        for name, value in run.figures.items():
            values.setdefault((run.load, run.server, name), []).append(value)
    figures = {}
    for key, several in values.items():
        middle = median(several)
        spread = (max(several) - min(several)) / middle if middle else 0.0
        figures[key] = Figure(middle, spread, len(several))
    return Summary(figures, faults, checked, count)
