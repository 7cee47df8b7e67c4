"""The shipped proxies, running in front of relays that a test has started."""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import ssl
from pathlib import Path
from typing import Any

from certificates import certificate_for
from cryptography.hazmat.primitives import serialization

from tests.system.conftest import Client, _free_port

HOST = "relay.example"


class TlsClient(Client):
    """A client that speaks TLS to the proxy, and believes only its certificate."""

    def __init__(self, front: Front, **options: Any) -> None:
        self._context = front.context
        super().__init__(front.port, **options)

    def _shake(self, port: int, path: str, headers: dict[str, str]) -> None:
        self.socket = self._context.wrap_socket(self.socket, server_hostname=HOST)
        super()._shake(port, path, headers)


class Front:
    """A running proxy: where it listens, and whom to believe."""

    def __init__(self, folder: Path) -> None:
        self.port, self.plain_port = _free_port(), _free_port()
        certificate = certificate_for(HOST)
        self.certificate, self.key = folder / "relay.crt", folder / "relay.key"
        pem = certificate.original.to_cryptography().public_bytes(serialization.Encoding.PEM)
        self.certificate.write_bytes(pem)
        self.key.write_bytes(
            certificate.privateKey.original.to_cryptography_key().private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        self.both = folder / "relay.pem"
        self.both.write_bytes(pem + self.key.read_bytes())
        self.context = ssl.create_default_context(cadata=pem.decode())

    def connect(self, **options: Any) -> TlsClient:
        return TlsClient(self, **options)

    def ask(
        self, path: str, source: str = "127.0.0.1", method: str = "GET", **headers: str
    ) -> http.client.HTTPResponse:
        connection = http.client.HTTPSConnection(HOST, timeout=10, context=self.context)
        plain = socket.create_connection(("127.0.0.1", self.port), 10, source_address=(source, 0))
        connection.sock = self.context.wrap_socket(plain, server_hostname=HOST)
        connection.request(method, path, headers={"Host": HOST} | headers)
        answer = connection.getresponse()
        answer.text = answer.read()  # type: ignore[attr-defined]
        connection.close()
        return answer


def replaced(text: str, *changes: tuple[str, str]) -> str:
    """The text with each of these in place of what is there exactly once."""
    for old, new in changes:
        # A port must not be taken for the beginning of a longer one.
        pattern = re.escape(old) + (r"\b" if old[-1].isdigit() else "")
        text, times = re.subn(pattern, lambda _, new=new: new, text)
        assert times == 1, f"{old!r} is there {times} times"
    return text


def servers(ports: list[int]) -> list[tuple[str, str]]:
    return [(f"127.0.0.1:{3001 + index}", f"127.0.0.1:{port}") for index, port in enumerate(ports)]


def start_haproxy(
    ops: Any, start_program: Any, folder: Path, ports: list[int], *changes: tuple[str, str]
) -> Front:
    front = Front(folder)
    config = folder / "haproxy.cfg"
    config.write_text(
        replaced(
            (ops.etc / "haproxy/haproxy.cfg").read_text(),
            ("bind :80\n", f"bind 127.0.0.1:{front.plain_port}\n"),
            (
                "bind :443 ssl crt /etc/haproxy/relay.pem",
                f"bind 127.0.0.1:{front.port} ssl crt {front.both}",
            ),
            ("inter 2s", "inter 200ms"),
            ("maxconn 25000", "maxconn 500"),  # a test machine allows few open files
            *servers(ports),
            *changes,
        )
    )
    program = start_program(ops.find("haproxy", "Debian's haproxy"), "-W", "-db", "-f", config)
    ops.poll(lambda: _serves(front, program), "HAProxy", 15)
    return front


NGINX = """
daemon off; user root; pid {folder}/nginx.pid; error_log stderr crit; worker_processes 1;
events {{ worker_connections 1024; }}
http {{
  client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
  uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
  include {folder}/twisted-relay.conf;
}}
"""


def start_nginx(
    ops: Any, start_program: Any, folder: Path, ports: list[int], *changes: tuple[str, str]
) -> Front:
    front = Front(folder)
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder))
    (folder / "twisted-relay.conf").write_text(
        replaced(
            (ops.etc / "nginx/twisted-relay.conf").read_text(),
            ("listen 80;", f"listen 127.0.0.1:{front.plain_port};"),
            ("listen 443 ssl;", f"listen 127.0.0.1:{front.port} ssl;"),
            ("/etc/nginx/relay.crt", str(front.certificate)),
            ("/etc/nginx/relay.key", str(front.key)),
            *servers(ports),
            *changes,
        )
    )
    program = start_program(
        ops.find("nginx", "Debian's nginx-light"),
        "-e",
        "stderr",
        "-p",
        folder,
        "-c",
        folder / "nginx.conf",
    )
    ops.poll(lambda: _serves(front, program), "nginx", 15)
    return front


def _serves(front: Front, program: Any) -> bool:
    program.check_running()
    with contextlib.suppress(OSError):
        return bool(front.ask("/ready").status == 200)
    return False


PROXIES = {"haproxy": start_haproxy, "nginx": start_nginx}
