"""A port that is taken ends the start: one line, status 1, no traceback."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("program", [["twistd", "-n", "--pidfile="], ["twist"]])
def test_a_taken_port_stops_the_start_with_one_line(program: list[str], tmp_path: Path) -> None:
    tool = [str(Path(sys.executable).with_name(program[0])), *program[1:]]
    root = str(Path(__file__).parents[2])
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            [*tool, "relay", "--host", "127.0.0.1", "--port", port],
            cwd=tmp_path,
            env={"PYTHONPATH": root, "PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            timeout=30,
        )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    message = json.loads(line)["msg"] if line.startswith("{") else line
    assert "PORT: cannot listen on 127.0.0.1:" + port in message
    assert "in use" in message
    assert "Traceback" not in done.stdout
