"""``relay-doctor`` through the shipped proxies, in front of instances on one Redis."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.ops.fronts import PROXIES, Front, start_haproxy
from tests.system.conftest import SECRET, Cluster

#: What depends on how busy the machine is that runs the tests.
TIMED = {"ping", "room", "redis-latency", "redis-seen", "event-loop", "health-redis"}


def diagnosis(front: Front, folder: Path, cluster: Cluster, **settings: str) -> Any:
    """The checks by name, as the command gives them to a program."""
    env = {"PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONDONTWRITEBYTECODE": "1"}
    env |= {"REDIS_URL": cluster.redis.url, "JOIN_TOKEN_SECRET": SECRET} | settings
    url = f"https://127.0.0.1:{front.port}"
    command = [sys.executable, "-m", "twisted_relay.doctor", url, "--json"]
    done = subprocess.run(
        [*command, "--ca-file", str(front.certificate)],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    return {check["name"]: check for check in json.loads(done.stdout)["checks"]}


def bad(checks: Any) -> dict[str, str]:
    return {
        name: check["status"]
        for name, check in checks.items()
        if check["status"] in ("warn", "fail") and name not in TIMED
    }


@pytest.mark.parametrize("proxy", sorted(PROXIES))
def test_the_shipped_proxies_are_found_well(
    proxy: str, new_cluster: Any, ops: Any, start_program: Any, tmp_path: Path
) -> None:
    cluster: Cluster = new_cluster(TRUST_PROXY="127.0.0.1/32")
    cluster.redis.command("CONFIG", "SET", "maxmemory", "64mb")
    cluster.grow(3)
    ports = [relay.port for relay in cluster.relays]
    front = PROXIES[proxy](ops, start_program, tmp_path, ports)
    checks = diagnosis(front, tmp_path, cluster, TRUST_PROXY="127.0.0.1/32")
    # A test's certificate lives for an hour, and its secret reads like the words that it is.
    assert bad(checks) == {"tls-expiry": "fail", "secret": "warn"}
    for name in ("websocket", "subprotocol", "proxy-trust", "secret-in-use", "redis-policy"):
        assert checks[name]["status"] == "ok", name


def test_a_relay_that_does_not_believe_its_proxy(
    new_cluster: Any, ops: Any, start_program: Any, tmp_path: Path
) -> None:
    cluster: Cluster = new_cluster()
    cluster.grow(1)
    front = start_haproxy(ops, start_program, tmp_path, [cluster.relays[0].port] * 3)
    checks = diagnosis(front, tmp_path, cluster)
    assert checks["proxy-trust"]["status"] == "warn"
    assert "TRUST_PROXY" in checks["proxy-trust"]["cure"]
    assert checks["proxy-trust"]["chapter"] == "docs/configuration.md#behind-a-proxy"


def test_no_instance_that_is_ready(
    new_cluster: Any, ops: Any, start_program: Any, tmp_path: Path
) -> None:
    cluster: Cluster = new_cluster(TRUST_PROXY="127.0.0.1/32")
    (relay,) = cluster.grow(1)
    front = start_haproxy(ops, start_program, tmp_path, [relay.port] * 3)
    relay.stop()
    ops.poll(lambda: front.ask("/live").status == 503, "HAProxy's notice of it")
    checks = diagnosis(front, tmp_path, cluster)
    for name in ("live", "websocket"):
        assert checks[name]["status"] == "fail"
        assert "503" in checks[name]["seen"]
        assert "servers" in checks[name]["cure"]
