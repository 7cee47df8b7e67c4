"""One run: a fresh server, the generator beside it, and what the generator counted."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.harness.build import compile_program
from benchmarks.harness.loads import SOCKETIO, Load
from benchmarks.harness.machine import Cores
from benchmarks.harness.servers import (
    SECRET,
    Fleet,
    NotStarted,
    Running,
    bound_to,
    servers_for,
)

FAULTS = ("lost", "doubled", "damaged", "astray", "errors", "closed_early", "overloaded")


@dataclass(frozen=True, slots=True)
class Run:
    """What came out of one run.

    Attributes:
        figures: by name, in the units that the names say; empty if the run could not be made.
        checked: deliveries whose arrival and content were checked, warm-up and end included.
        fault: why the figures are not to be used; empty when they are.
        wrong: the fault is a wrong delivery, not a run that could not be made.
    """

    load: str
    server: str
    round: int
    figures: dict[str, float]
    checked: int = 0
    fault: str = ""
    wrong: bool = False

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def _arguments(load: Load, server: str, running: list[Running]) -> list[str]:
    values = {
        "mode": load.mode,
        "rooms": load.rooms,
        "members": load.members,
        "bytes": load.size,
        "outstanding": load.outstanding,
        "rate": load.rate or 1,
        "warm": load.warm,
        "seconds": load.seconds,
    }
    arguments = [f"--{name}={value}" for name, value in values.items()]
    for one in running:
        arguments += [f"--port={one.port}", f"--pid={one.process.pid}"]
    flags = {"--split": load.split, "--tls": load.tls, "--socketio": server == SOCKETIO}
    return arguments + [flag for flag, on in flags.items() if on]


def figures_of(load: Load, counted: dict[str, Any]) -> dict[str, float]:
    """The figures that a load is about, from what the generator printed."""
    seconds, cpu = counted["seconds"], counted["server_cpu"]
    figures: dict[str, float] = {}
    if load.mode in ("closed", "rate") and counted["deliveries"]:
        latency = counted["latency_us"]
        figures = {
            "cpu_per_million": cpu / counted["deliveries"] * 1e6,
            "cpu_us_per_message": cpu / counted["messages"] * 1e6,
            "deliveries_per_second": counted["deliveries"] / seconds,
            "server_share": cpu / seconds,
            "generator_share": counted["generator_cpu"] / seconds,
            "p50_ms": latency["p50"] / 1e3,
            "p99_ms": latency["p99"] / 1e3,
            "p99_9_ms": latency["p99_9"] / 1e3,
            "resident_mib": counted["resident_kib"] / 1024,
        }
    elif load.mode == "join":
        figures = {
            "joins_per_second": counted["joined"] / seconds,
            "cpu_ms_per_join": cpu / counted["joined"] * 1e3,
            "joins_per_cpu_second": counted["joined"] / max(cpu, 0.01),
        }
    elif load.mode == "idle":
        grown = counted["resident_kib"] - counted["resident_before_kib"]
        figures = {
            "kib_per_connection": grown / counted["connections"],
            "resident_mib": counted["resident_kib"] / 1024,
        }
    return figures


def _generate(
    load: Load, server: str, running: list[Running], core: int, tick: Callable[[], None]
) -> tuple[int, str, str]:
    """Run the generator to its end; its status and what it printed and complained."""
    process = subprocess.Popen(
        [str(compile_program("load", load.tls)), *_arguments(load, server, running)],
        env={"JOIN_TOKEN_SECRET": SECRET, "PATH": os.environ.get("PATH", "")},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=bound_to(core),
    )
    try:
        while True:
            try:
                out, err = process.communicate(timeout=0.5)
            except subprocess.TimeoutExpired:
                tick()
            else:
                return process.returncode, out, err
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def perform(
    load: Load,
    server: str,
    round_number: int,
    fleet: Fleet,
    cores: Cores,
    redis: int,
    tick: Callable[[], None],
) -> Run:
    """One run; whatever goes wrong is in its `fault`."""

    def failed(why: str, wrong: bool = False) -> Run:
        return Run(load.key, server, round_number, {}, fault=why, wrong=wrong)

    try:
        with servers_for(server, load, fleet, redis) as running:
            status, out, err = _generate(load, server, running, cores.generator, tick)
    except NotStarted as why:
        return failed(f"did not start: {why}")
    if status not in (0, 1) or not out:
        return failed(err.strip()[:300] or f"the generator ended with {status}")
    counted = json.loads(out)
    faults = [f"{counted[name]} {name.replace('_', ' ')}" for name in FAULTS if counted[name]]
    if faults:
        said = f" ({counted['complaint']})" if counted["complaint"] else ""
        return failed(", ".join(faults) + said, wrong=status == 1)
    return Run(load.key, server, round_number, figures_of(load, counted), counted["checked"])
