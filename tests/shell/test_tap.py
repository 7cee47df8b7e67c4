"""The options of ``twistd relay``: what goes before what, and faults that are one line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

from twisted_relay import __version__
from twisted_relay.core.settings import Loaded
from twisted_relay.core.settings_table import SETTINGS
from twisted_relay.tap import Options, makeService

ROOT = Path(__file__).resolve().parents[2]
SECRET = "kX9#vQ2mLp7@wR4tZ8nB6yH3jF5sD1gC"
RUN = {
    "twistd": "from twisted.scripts.twistd import run; run()",
    "twist": "from twisted.application.twist._twist import Twist; Twist.main()",
}


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    for row in SETTINGS:
        monkeypatch.delenv(row.name, raising=False)
    monkeypatch.chdir(tmp_path)
    yield


def parsed(*arguments: str) -> Loaded:
    options = Options()
    options.parseOptions(list(arguments))
    loaded: Loaded = options["loaded"]
    return loaded


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    def call(which: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.run(
            [sys.executable, "-c", RUN[which], *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )

    return call


def test_option_beats_environment_beats_file_beats_default(monkeypatch: pytest.MonkeyPatch) -> None:
    assert parsed().settings.listen.port == 3001
    Path(".env").write_text("PORT=1001\n")
    assert parsed().settings.listen.port == 1001
    monkeypatch.setenv("PORT", "1002")
    assert parsed().settings.listen.port == 1002
    assert parsed("--port", "1003").settings.listen.port == 1003


def test_an_empty_variable_leaves_the_file_in_force(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("PORT=1001\n")
    monkeypatch.setenv("PORT", "")
    assert parsed().settings.listen.port == 1001


def test_a_named_file_takes_the_place_of_the_usual_one() -> None:
    Path(".env").write_text("PORT=1001\n")
    Path("other").write_text("MAX_TOTAL_CONNECTIONS=7\n")
    settings = parsed("--env-file", "other").settings
    assert (settings.listen.port, settings.admission.max_total_connections) == (3001, 7)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (None, "No such file"),
        (b"PORT=1\nnonsense\n", "line 2 is not NAME=value"),
        (b"PORT=\xff\n", "not UTF-8"),
    ],
)
def test_a_bad_file_is_one_line(
    content: bytes | None, fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        Path("other").write_bytes(content)
    with pytest.raises(SystemExit) as ended:
        parsed("--env-file", "other")
    assert ended.value.code == 1
    said = capsys.readouterr().err
    assert fault in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("which", ["twistd", "twist"])
def test_a_bad_setting_stops_the_start_with_one_line(
    which: str, run: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    before = ["-n"] if which == "twistd" else []
    done = run(which, *before, "relay", "--port", "x")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == (
        "PORT: 'x' is not a whole number; allowed is a whole number from 0 to 65535\n"
    )


def test_check_says_what_would_run_and_no_secret(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("JOIN_TOKEN_SECRET", SECRET)
    monkeypatch.setenv("NODE_ENV", "production")
    with pytest.raises(SystemExit) as ended:
        parsed("--check", "--host", "::1", "--max-total-connections", "77")
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert "http://[::1]:3001" in said
    assert "store: embedded\n" in said
    assert "web client: off\n" in said
    assert "REDIS" not in said
    assert "MAX_TOTAL_CONNECTIONS=77" in said
    assert "join token secret: configured" in said
    assert "NODE_ENV" in said
    assert SECRET not in said


def test_check_covers_redis_and_never_shows_its_url(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("JOIN_TOKEN_SECRET", SECRET)
    monkeypatch.setenv("REDIS_COMMAND_TIMEOUT_MS", "700")
    with pytest.raises(SystemExit) as ended:
        parsed("--check", "--redis-url", "redis://user:hunter2@db.example:6379/0")
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert "store: redis, at the server of REDIS_URL\n" in said
    assert "  REDIS_COMMAND_TIMEOUT_MS=700\n" in said
    assert "  REDIS_CONNECT_TIMEOUT=10000\n" in said
    assert "hunter2" not in said
    assert "db.example" not in said


def test_check_of_bad_settings_fails_with_the_line(
    run: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    done = run("twistd", "relay", "--check", "--redis-url", "redis://:hunter2@db")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("JOIN_TOKEN_SECRET: ")
    assert done.stderr.count("\n") == 1
    assert "hunter2" not in done.stderr


def test_help_explains_itself(run: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = run("twistd", "relay", "--help")
    assert done.returncode == 0
    for word in ("--env-file", "--check", "--log-format", "/metrics", "docs/configuration.md"):
        assert word in done.stdout


def test_version_is_ours(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parsed("--version")
    assert capsys.readouterr().out == f"twisted-relay {__version__}\n"


def test_importing_the_options_leaves_the_choice_of_reactor_open() -> None:
    code = "import sys, twisted_relay.tap; sys.exit('twisted.internet.reactor' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=60)


@pytest.mark.parametrize("which", ["twistd", "twist"])
def test_the_log_is_ours_from_the_first_line(which: str, tmp_path: Path) -> None:
    before = ["-n", "--pidfile="] if which == "twistd" else []
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NODE_ENV": "production"}
    command = [sys.executable, "-c", RUN[which], *before, "relay", "--host=127.0.0.1", "--port=0"]
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        lines = []
        try:
            for line in process.stdout:
                lines.append(json.loads(line))
                if lines[-1].get("event") == "listening":
                    # Twisted takes signals only once the reactor runs, and then it answers.
                    http = HTTPConnection("127.0.0.1", lines[-1]["port"], timeout=20)
                    http.request("GET", "/live")
                    assert http.getresponse().status == 200
                    http.close()
                    process.terminate()
            lines += [json.loads(line) for line in process.stdout]
        finally:
            process.kill()
    assert {"settings", "listening", "stopped"} <= {line.get("event") for line in lines}
    assert all(isinstance(line["level"], str) and "log_namespace" not in line for line in lines)


def test_options_become_a_service_with_those_settings() -> None:
    options = Options()
    options.parseOptions(["--port", "0"])
    service = makeService(options)
    assert service.settings is options["loaded"].settings  # type: ignore[attr-defined]
