"""Puts the measured part into docs/performance.md, between two comments; the rest is people's."""

from __future__ import annotations

from pathlib import Path

from benchmarks.harness.paths import CannotRun

BEGIN = "<!-- measured: begin (written by make bench) -->"
END = "<!-- measured: end -->"


def replaced(page: str, measured: str) -> str:
    """The page with another text between the comments. Raises CannotRun without them."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise CannotRun(f"docs/performance.md has lost its marks {BEGIN} and {END}")
    return f"{before}{begin}\n\n{measured.strip()}\n\n{end}{after}"


def write(page: Path, chart: Path, measured: str, picture: str) -> None:
    """Replace the measured part, and the chart beside it."""
    chart.write_text(picture, encoding="utf-8")
    shown = f"![The relay beside its peers]({chart.name})\n\n{measured}"
    page.write_text(replaced(page.read_text(encoding="utf-8"), shown), encoding="utf-8")
