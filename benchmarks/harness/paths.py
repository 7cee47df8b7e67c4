"""Where things lie."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BENCHMARKS = ROOT / "benchmarks"
BUILD = ROOT / "build" / "bench"
"""Everything that a run makes; `make clean` removes it."""
PAGE = ROOT / "docs" / "performance.md"
CHART = ROOT / "docs" / "performance.svg"


class CannotRun(Exception):
    """Something that the benchmark needs is missing; the text says what, in one line."""
