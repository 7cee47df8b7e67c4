"""The shipped units: systemd's own checks, and what can be run of them without a booted systemd."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.system.conftest import SECRET, Client, _free_port, http, samples

UNITS = ("twisted-relay.service", "twisted-relay@.service", "twisted-relay.socket")
TWISTD = "/opt/relay/bin/twistd"
PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN = 65, 1


def unit(ops: Any, name: str) -> str:
    return str((ops.etc / "systemd" / name).read_text())


def directives(text: str, name: str) -> list[str]:
    return re.findall(rf"(?m)^{name}=(.*)$", text)


@pytest.fixture
def units(ops: Any, tmp_path: Path) -> Path:
    """The units, with the programs of this machine."""
    twistd = ops.find("twistd", "this project's requirements")
    folder = tmp_path / "units"
    folder.mkdir()
    for name in UNITS:
        text = unit(ops, name).replace(TWISTD, twistd)
        (folder / name.replace("@.", "@1.")).write_text(text)
        (folder / name).write_text(text)
    return folder


def test_systemd_finds_nothing_to_say(ops: Any, units: Path) -> None:
    analyze = ops.find("systemd-analyze", "Debian's systemd")
    names = ("twisted-relay.service", "twisted-relay@1.service", "twisted-relay.socket")
    done = subprocess.run(
        [analyze, "verify", *(f"./{name}" for name in names)],
        cwd=units,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    # An unknown key is told on stderr, with status 0.
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", ["twisted-relay.service", "twisted-relay@1.service"])
def test_the_units_are_hardened(ops: Any, units: Path, name: str) -> None:
    analyze = ops.find("systemd-analyze", "Debian's systemd")
    done = subprocess.run(
        [analyze, "security", "--offline=true", "--threshold=15", f"./{name}"],
        cwd=units,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_template_differs_only_where_it_has_to(ops: Any) -> None:
    def lines(name: str) -> list[str]:
        kept = [line for line in unit(ops, name).splitlines() if not line.startswith("#")]
        return [line for line in kept if not re.match(r"Description|After|Requires", line)]

    single, template = lines("twisted-relay.service"), lines("twisted-relay@.service")
    added = [line for line in template if line not in single]
    assert [line for line in single if line not in template] == []
    assert {line.split("=", 1)[0] for line in added} == {"Sockets", "Environment"}


class Instance:
    """What systemd would start: the unit's command line with the unit's environment."""

    def __init__(
        self,
        ops: Any,
        folder: Path,
        name: str,
        settings: dict[str, str],
        number: str = "1",
        own_port: str = "0",
        **options: Any,
    ) -> None:
        text = unit(ops, name)
        (command,) = directives(text, "ExecStart")
        folder.mkdir()
        (folder / "relay.env").write_text("".join(f"{k}={v}\n" for k, v in settings.items()))
        command = command.replace(TWISTD, ops.find("twistd", "this project's requirements"))
        command = command.replace("/etc/relay/relay.env", str(folder / "relay.env"))
        self.notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notices.bind(str(folder / "notify"))
        self.notices.settimeout(20)
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ops.root),
            "PYTHONDONTWRITEBYTECODE": "1",
            "NOTIFY_SOCKET": str(folder / "notify"),
        } | options.pop("environment", {})
        for pair in directives(text, "Environment"):
            filled = pair.strip('"').replace("910%i", own_port).replace("%i", number)
            key, value = filled.replace("%H", "host").split("=", 1)
            environment[key] = value
        self._log = folder / "log"
        with self._log.open("wb") as log:
            # LISTEN_PID must be the relay's own, which nobody knows before it is there.
            self.process = subprocess.Popen(
                ["/bin/sh", "-c", f"export LISTEN_PID=$$; exec {command}"],
                cwd=folder,
                env=environment,
                stdout=log,
                stderr=log,
                **options,
            )

    @property
    def log(self) -> str:
        return self._log.read_text()

    def notice(self) -> bytes:
        try:
            return self.notices.recv(100)
        except TimeoutError:
            raise AssertionError(f"no notice; the log is:\n{self.log}") from None

    def stop(self) -> None:
        self.notices.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


@pytest.fixture
def start_unit(ops: Any, tmp_path: Path) -> Iterator[Callable[..., Instance]]:
    started: list[Instance] = []

    def start(name: str, settings: dict[str, str], **options: Any) -> Instance:
        made = Instance(ops, tmp_path / f"unit-{len(started)}", name, settings, **options)
        started.append(made)
        return made

    yield start
    for instance in started:
        instance.stop()


def test_the_service_says_when_it_is_ready_reloads_and_stops(start_unit: Any, ops: Any) -> None:
    """Type=notify, ExecReload= and the end, and memory that is never both written and executed."""
    port = _free_port()

    def refuse_write_and_execute() -> None:
        # MemoryDenyWriteExecute=, by the kernel itself (Linux 6.3 and newer; elsewhere without).
        ctypes.CDLL(None).prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0)

    settings = {"HOST": "127.0.0.1", "PORT": str(port), "MAX_CONNS_PER_IP": "5"}
    started = start_unit("twisted-relay.service", settings, preexec_fn=refuse_write_and_execute)
    assert started.notice() == b"READY=1"
    assert http(port, "GET", "/ready").status == 200
    client = Client(port)
    client.create()

    environment = Path(started.process.args[2].split("--env-file ")[1])
    environment.write_text(environment.read_text().replace("IP=5", "IP=6"))
    os.kill(started.process.pid, signal.SIGHUP)
    ops.poll(
        lambda: samples(http(port, "GET", "/metrics").body.decode())["limit_max_conns_per_ip"] == 6,
        "the new limit",
    )
    os.kill(started.process.pid, signal.SIGTERM)
    assert started.notice() == b"STOPPING=1"
    assert client.close_reason() == (1012, "service restart")
    client.close()
    # systemd counts an end by the signal that it sent as a clean one.
    assert started.process.wait(10) == -signal.SIGTERM


def test_instances_share_the_listener_of_the_socket_unit(
    start_unit: Any, ops: Any, redis_server: Any
) -> None:
    assert directives(unit(ops, "twisted-relay@.service"), "Sockets") == ["twisted-relay.socket"]
    settings = {"REDIS_URL": redis_server.url, "JOIN_TOKEN_SECRET": SECRET}
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        port = listener.getsockname()[1]

        def pass_listener() -> None:
            os.dup2(listener.fileno(), 3)

        options = {"pass_fds": (3,), "preexec_fn": pass_listener}
        own_ports = [_free_port() for _ in range(2)]
        running = [
            start_unit(
                "twisted-relay@.service",
                settings,
                number=str(number),
                own_port=str(own_port),
                environment={
                    "LISTEN_FDS": "1",
                    "LISTEN_FDNAMES": directives(
                        unit(ops, "twisted-relay.socket"), "FileDescriptorName"
                    )[0],
                },
                **options,
            )
            for number, own_port in enumerate(own_ports, 1)
        ]
        for instance in running:
            assert instance.notice() == b"READY=1"
        names = set()

        def both_answer() -> bool:
            names.add(http(port, "GET", "/health").json["instanceId"])
            return len(names) == 2

        ops.poll(both_answer, "an answer of each instance")
        assert names == {"host-1", "host-2"}
        own = [http(own_port, "GET", "/health").json["instanceId"] for own_port in own_ports]
        assert own == ["host-1", "host-2"]
        # One restarts; whoever comes meanwhile is taken by the other.
        os.kill(running[0].process.pid, signal.SIGTERM)
        while running[0].process.poll() is None:
            with contextlib.suppress(ConnectionResetError):
                assert http(port, "GET", "/live").status == 200
        for _ in range(20):
            assert http(port, "GET", "/health").json["instanceId"] == "host-2"
