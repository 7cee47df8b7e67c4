"""The generator sees what a server does wrong; the peers speak the protocol. Needs cc and node."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.harness import servers
from benchmarks.harness.build import PROGRAMS, compile_program, install_peers
from benchmarks.harness.loads import CORKED, FASTIFY, FLOOR, OURS, SOCKETIO, Load
from benchmarks.harness.machine import choose_cores
from benchmarks.harness.paths import BUILD, CannotRun
from benchmarks.harness.rounds import redis_if_needed
from benchmarks.harness.runs import Run, perform

SMALL = Load("small", "small", "closed", 4, 3, (), size=4096, outstanding=2, warm=0.1, seconds=0.3)
EVERYBODY = (OURS, FASTIFY, SOCKETIO, FLOOR, CORKED)


@pytest.fixture(scope="module", autouse=True)
def _built() -> None:
    """A missing compiler or Node.js fails the tests with the line that names it."""
    for name in PROGRAMS:
        compile_program(name)
    install_peers()


def run(load: Load, server: str) -> Run:
    cores = choose_cores()
    with redis_if_needed([load], cores) as redis:
        return perform(load, server, 0, servers.Fleet(cores.server), cores, redis, lambda: None)


def spoiled(monkeypatch: pytest.MonkeyPatch, fault: str) -> Run:
    command = servers._command

    def with_fault(server: str, port: int) -> list[str]:
        return [*command(server, port), "--fault", f"{fault}:40"]

    monkeypatch.setattr(servers, "_command", with_fault)
    return run(SMALL, FLOOR)


@pytest.mark.parametrize("server", EVERYBODY)
def test_every_delivery_of_a_sound_server_is_right(server: str) -> None:
    done = run(SMALL, server)
    assert done.fault == ""
    assert done.checked > 24
    assert done.figures["cpu_per_million"] >= 0
    assert done.figures["p50_ms"] <= done.figures["p99_ms"] <= done.figures["p99_9_ms"]


@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        ("drop", "1 lost"),
        ("double", "1 doubled"),
        ("damage", "1 lost, 1 damaged"),
        ("close", "closed early"),
    ],
)
def test_a_wrong_delivery_is_seen(monkeypatch: pytest.MonkeyPatch, fault: str, seen: str) -> None:
    done = spoiled(monkeypatch, fault)
    assert seen in done.fault
    assert done.wrong
    assert done.figures == {}


@pytest.mark.parametrize("server", EVERYBODY)
def test_a_fixed_rate_is_kept(server: str) -> None:
    load = Load("steady", "", "rate", 10, 5, (), rate=1000, warm=0.2, seconds=1.0)
    done = run(load, server)
    assert done.fault == ""
    assert done.figures["deliveries_per_second"] == pytest.approx(1000, rel=0.05)


@pytest.mark.parametrize("server", EVERYBODY)
def test_joining_and_idling_are_measured(server: str) -> None:
    joined = run(Load("join", "", "join", 10, 5, ()), server)
    assert joined.fault == ""
    assert joined.figures["joins_per_second"] > 0
    idle = run(Load("idle", "", "idle", 20, 5, (), warm=0, seconds=0.2), server)
    assert idle.fault == ""
    assert idle.figures["resident_mib"] > 0


@pytest.mark.parametrize("server", [FASTIFY, SOCKETIO])
def test_the_peers_join_over_redis(server: str) -> None:
    done = run(Load("join", "", "join", 10, 5, (), redis=True), server)
    assert done.fault == ""


def test_a_server_that_does_not_start_is_told_of() -> None:
    cores = choose_cores()
    fleet = servers.Fleet(cores.server, {"MAX_WS_MSG_BYTES": "nonsense"})
    done = perform(SMALL, OURS, 0, fleet, cores, 0, lambda: None)
    assert done.fault.startswith("did not start: ")
    assert "MAX_WS_MSG_BYTES" in done.fault
    assert not done.wrong


def test_a_missing_program_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CannotRun, match="there is no node"):
        install_peers()
    monkeypatch.setitem(PROGRAMS, "other", PROGRAMS["floor"])
    with pytest.raises(CannotRun, match="C compiler"):
        compile_program("other")
    assert not (BUILD / "other").exists()
