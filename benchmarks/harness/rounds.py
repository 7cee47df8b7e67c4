"""All runs in turn: A B C, then C B A, so that a drift of the machine falls on all alike."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence

from benchmarks.harness.loads import Load
from benchmarks.harness.machine import Cores
from benchmarks.harness.paths import BUILD, CannotRun
from benchmarks.harness.progress import Progress
from benchmarks.harness.redis import redis_command, redis_program
from benchmarks.harness.runs import Run, perform
from benchmarks.harness.servers import TITLES, Fleet, free_port, started

Step = tuple[int, Load, str]
"""A round, a load and a server."""


def schedule(loads: Sequence[Load], servers: Sequence[str], rounds: int) -> list[Step]:
    """The order of the runs: every other round takes the servers backwards."""
    steps = []
    for number in range(rounds):
        for load in loads:
            chosen = [name for name in load.servers if name in servers]
            if number % 2:
                chosen.reverse()
            steps += [(number, load, name) for name in chosen]
    return steps


@contextlib.contextmanager
def redis_if_needed(loads: Sequence[Load], cores: Cores) -> Iterator[int]:
    """The port of a Redis server, or 0 where no load wants one. Raises CannotRun."""
    if not any(load.redis for load in loads):
        yield 0
        return
    program = redis_program()
    if program is None:
        raise CannotRun("a Redis server is needed (on Debian: apt-get install redis-server)")
    port = free_port()
    environment = {"PATH": os.environ.get("PATH", "")}
    with started(redis_command(program, port), environment, port, cores.generator, "redis"):
        yield port


def run_all(steps: Sequence[Step], fleet: Fleet, cores: Cores, redis: int) -> list[Run]:
    """Every run once, with the progress told on standard error."""
    BUILD.mkdir(parents=True, exist_ok=True)
    progress = Progress(sum(load.nominal_seconds for _, load, _ in steps))
    runs = []
    for number, (round_number, load, server) in enumerate(steps, 1):
        what = f"{number}/{len(steps)}  {load.title}, {TITLES[server]}, round {round_number + 1}"
        progress.begin(what, load.nominal_seconds)
        runs.append(perform(load, server, round_number, fleet, cores, redis, progress.tick))
    progress.end()
    return runs
