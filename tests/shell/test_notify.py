"""The notices to systemd and PM2: what is said, to whom, and that a dead end harms nobody."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from twisted_relay.shell import notify


@pytest.mark.parametrize("name", ["/notify", "@abstract"])
def test_systemd_is_told(tmp_path: Path, name: str) -> None:
    shown = f"@{tmp_path}/notify" if name.startswith("@") else f"{tmp_path}{name}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(shown.replace("@", "\0"))
        listening.settimeout(5)
        notify.ready({"NOTIFY_SOCKET": shown})
        notify.stopping({"NOTIFY_SOCKET": shown})
        assert [listening.recv(100), listening.recv(100)] == [b"READY=1", b"STOPPING=1"]


def test_pm2_is_told_once_ready() -> None:
    reading, writing = os.pipe()
    notify.ready({"NODE_CHANNEL_FD": str(writing)})
    notify.stopping({"NODE_CHANNEL_FD": str(writing)})
    os.close(writing)
    with os.fdopen(reading, "rb") as said:
        assert said.read() == b'"ready"\n'


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"NOTIFY_SOCKET": "", "NODE_CHANNEL_FD": ""},
        {"NOTIFY_SOCKET": "/nowhere/at/all"},
        {"NOTIFY_SOCKET": "vsock:2:1"},
        {"NODE_CHANNEL_FD": "99999"},
        {"NODE_CHANNEL_FD": "9" * 40},
        {"NODE_CHANNEL_FD": "three"},
    ],
)
def test_where_nobody_listens_nothing_happens(environment: dict[str, str]) -> None:
    notify.ready(environment)
    notify.stopping(environment)
