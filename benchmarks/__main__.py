"""`python -m benchmarks`: measure the relay beside its peers."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from pathlib import Path
from types import FrameType

from benchmarks.harness import chart, page, tables
from benchmarks.harness.build import compile_program, install_peers
from benchmarks.harness.certificate import make_certificate
from benchmarks.harness.loads import ALL, FASTIFY, FULL, QUICK, SOCKETIO, TLS, Load
from benchmarks.harness.machine import Cores, choose_cores, describe
from benchmarks.harness.paths import BUILD, CHART, PAGE, CannotRun
from benchmarks.harness.rounds import Step, redis_if_needed, run_all, schedule
from benchmarks.harness.runs import Run
from benchmarks.harness.servers import Fleet
from benchmarks.harness.summary import Results, summarise

RESULTS = BUILD / "results.json"


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few loads, briefly, one round")
    parser.add_argument("--rounds", type=int, help="default 3, with --quick 1")
    parser.add_argument("--tls", action="store_true", help="the loads over TLS as well")
    parser.add_argument("--loads", help="only these, by key, comma-separated (--list shows them)")
    parser.add_argument("--servers", help=f"only these of {', '.join(ALL)}")
    parser.add_argument(
        "--setting", action="append", default=[], metavar="NAME=VALUE",
        help="a further environment variable for the relay; may be repeated",
    )  # fmt: skip
    parser.add_argument("--write", action="store_true", help="write docs/performance.md")
    parser.add_argument("--again", type=Path, metavar="FILE", help="report on earlier results")
    parser.add_argument("--list", action="store_true", help="show the loads, and end")
    return parser.parse_args(argv)


def chosen_loads(options: argparse.Namespace) -> list[Load]:
    """The loads that were asked for. Raises CannotRun for a key that is none."""
    loads = [*(QUICK if options.quick else FULL), *(TLS if options.tls else ())]
    if options.loads is None:
        return loads
    known = {load.key: load for load in loads}
    unknown = [key for key in options.loads.split(",") if key not in known]
    if unknown:
        raise CannotRun(f"no such load: {', '.join(unknown)}; there are {', '.join(known)}")
    return [known[key] for key in options.loads.split(",")]


def _chosen_servers(options: argparse.Namespace) -> list[str]:
    servers = options.servers.split(",") if options.servers else list(ALL)
    unknown = [name for name in servers if name not in ALL]
    if unknown:
        raise CannotRun(f"no such server: {', '.join(unknown)}; there are {', '.join(ALL)}")
    return servers


def _build(steps: list[Step]) -> None:
    """What the steps need. Raises CannotRun."""
    print("building ...", file=sys.stderr, flush=True)
    servers = {server for _, _, server in steps}
    for tls in sorted({load.tls for _, load, _ in steps}):
        compile_program("load", tls)
    compile_program("floor")
    if servers & {FASTIFY, SOCKETIO}:
        install_peers()


def _measure(options: argparse.Namespace, loads: list[Load], cores: Cores) -> Results:
    """All runs; their results, written to build/bench/results.json as well."""
    settings = dict(setting.split("=", 1) for setting in options.setting)
    rounds = options.rounds or (1 if options.quick else 3)
    steps = schedule(loads, _chosen_servers(options), rounds)
    _build(steps)
    certificate = make_certificate() if any(load.tls for load in loads) else None
    machine = describe(cores)
    if settings:
        machine["relay settings"] = ", ".join(options.setting)
    with redis_if_needed(loads, cores) as redis:
        runs = run_all(steps, Fleet(cores.server, settings, certificate), cores, redis)
    results: Results = {
        "machine": machine,
        "loads": [load.key for load in loads],
        "runs": [run.as_json() for run in runs],
    }
    RESULTS.write_text(json.dumps(results, indent=1), encoding="utf-8")
    return results


def _report(results: Results, write: bool) -> int:
    runs = [Run(**fields) for fields in results["runs"]]
    loads = [load for load in (*FULL, *TLS) if load.key in results["loads"]]
    summary = summarise(runs)
    measured = tables.report(summary, loads, results["machine"])
    picture = chart.draw(summary, loads)
    print(measured)
    (BUILD / "chart.svg").write_text(picture, encoding="utf-8")
    if write:
        page.write(PAGE, CHART, measured, picture)
        print(f"written: {PAGE.name}, {CHART.name}", file=sys.stderr)
    return 1 if any(run.wrong for run in runs) else 0


def _interrupted(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main(argv: list[str] | None = None) -> int:
    options = _arguments(argv)
    signal.signal(signal.SIGTERM, _interrupted)  # so that servers are ended on this way out, too
    try:
        loads = chosen_loads(options)
        if options.list:
            print("\n".join(f"{load.key:16} {load.title}" for load in loads))
            return 0
        if options.again:
            return _report(json.loads(options.again.read_text(encoding="utf-8")), options.write)
        return _report(_measure(options, loads, choose_cores()), options.write)
    except CannotRun as why:
        print(f"bench: {why}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nbench: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    raise SystemExit(main())
