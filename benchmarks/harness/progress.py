"""A line that tells how far it is and how long it takes yet."""

from __future__ import annotations

import sys
import time
from typing import TextIO

WIDTH = 24


class Progress:
    """Time is guessed from the runs' nominal lengths, and corrected by how long they really took.

    On a terminal one line is written over; elsewhere each step gets a line.
    """

    def __init__(self, total: float, out: TextIO | None = None) -> None:
        self._out = sys.stderr if out is None else out
        self._total = max(total, 0.001)
        self._done = 0.0
        self._step = 0.0
        self._began = self._step_began = time.monotonic()
        self._what = ""
        self._live = self._out.isatty()

    def begin(self, what: str, nominal: float) -> None:
        """The next step: its name, and its length in seconds as foreseen."""
        self._done += self._step
        self._step = nominal
        self._step_began = time.monotonic()
        self._what = what
        self._write(end="" if self._live else "\n")

    def tick(self) -> None:
        """Called while a step goes on."""
        if self._live:
            self._write(end="")

    def end(self) -> None:
        self._done, self._step = self._total, 0.0
        self._what = "done"
        self._write(end="\n")

    def _write(self, end: str) -> None:
        now = time.monotonic()
        within = min(now - self._step_began, self._step)
        share = min((self._done + within) / self._total, 1.0)
        bar = "#" * round(share * WIDTH)
        spent = now - self._began
        # Before much is done the foreseen length is the better guess.
        left = self._total - self._done - within
        if share > 0.1:
            left = spent / share - spent
        text = f"[{bar:<{WIDTH}}] {share:4.0%}  {_clock(left)} left  {self._what}"
        if self._live:
            text = f"\r\x1b[K{text[:150]}"
        print(text, end=end, file=self._out, flush=True)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(max(int(seconds), 0), 60)
    return f"{minutes}:{rest:02d}"
