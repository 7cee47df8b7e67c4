"""Tells whoever started the process that it is ready, and that it is about to stop.

The process is ready when it listens. It does not wait for Redis: rooms go on without it, ``/ready``
says how it is, and a supervisor that waited would restart what is well.

Sources: sd_notify(3); PM2's ``wait_ready``, which is a line of JSON on Node's channel to its
child, the file descriptor NODE_CHANNEL_FD.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Mapping


def ready(environment: Mapping[str, str] = os.environ) -> None:
    """Say that clients may come. Never raises; says nothing where nobody asked for it."""
    _tell_systemd(environment, b"READY=1")
    # A number that is none of ours, or a channel that has ended, is no reason not to serve.
    with contextlib.suppress(OSError, ValueError, OverflowError):
        os.write(int(environment.get("NODE_CHANNEL_FD") or ""), b'"ready"\n')


def stopping(environment: Mapping[str, str] = os.environ) -> None:
    """Say that the process drains and ends. PM2 has no word for it. Never raises."""
    _tell_systemd(environment, b"STOPPING=1")


def _tell_systemd(environment: Mapping[str, str], words: bytes) -> None:
    path = environment.get("NOTIFY_SOCKET", "")
    # Other kinds of address (vsock:) are for virtual machines.
    if not path.startswith(("/", "@")):
        return
    if path.startswith("@"):
        path = "\0" + path[1:]
    with (
        contextlib.suppress(OSError),
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender,
    ):
        sender.setblocking(False)
        sender.sendto(words, path)
