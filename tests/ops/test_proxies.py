"""The shipped HAProxy and nginx configurations, with the real programs in front of real relays."""

from __future__ import annotations

import http.client
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.ops.fronts import HOST, NGINX, PROXIES, Front, replaced, start_haproxy
from tests.system.conftest import Cluster, Refused, RelayProcess, _free_port

STICKY = {
    "haproxy": (
        ("    #dynamic-cookie-key ", "    dynamic-cookie-key "),
        ("    #cookie RELAY", "    cookie RELAY"),
    ),
    "nginx": (("    least_conn;\n", ""), ("    #hash ", "    hash ")),
}


@pytest.fixture(params=sorted(PROXIES))
def proxy(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def instances(new_cluster: Any) -> Cluster:
    """Three that believe a proxy on 127.0.0.1, and let three clients of one address in."""
    cluster: Cluster = new_cluster(TRUST_PROXY="127.0.0.1/32", MAX_CONNS_PER_IP="3")
    cluster.grow(3)
    return cluster


@pytest.fixture
def start_front(proxy: str, ops: Any, start_program: Any, tmp_path: Path) -> Iterator[Any]:
    def start(ports: list[int], *changes: tuple[str, str]) -> Front:
        return PROXIES[proxy](ops, start_program, tmp_path, ports, *changes)

    return start


def ports_of(cluster: Cluster) -> list[int]:
    return [relay.port for relay in cluster.relays]


def test_the_shipped_file_is_valid(ops: Any, proxy: str, start_front: Any, tmp_path: Path) -> None:
    """Nothing in it is ignored or merely warned of."""
    folder = tmp_path / "check"
    folder.mkdir()
    front = Front(folder)
    if proxy == "haproxy":
        (folder / "c").write_text(
            replaced(
                (ops.etc / "haproxy/haproxy.cfg").read_text(),
                ("/etc/haproxy/relay.pem", str(front.both)),
            )
        )
        command = [ops.find("haproxy", "Debian's haproxy"), "-c", "-f", folder / "c"]
    else:
        (folder / "nginx.conf").write_text(NGINX.format(folder=folder))
        (folder / "twisted-relay.conf").write_text(
            replaced(
                (ops.etc / "nginx/twisted-relay.conf").read_text(),
                ("/etc/nginx/relay.crt", str(front.certificate)),
                ("/etc/nginx/relay.key", str(front.key)),
            )
        )
        nginx = ops.find("nginx", "Debian's nginx-light")
        command = [nginx, "-t", "-e", "stderr", "-p", folder, "-c", folder / "nginx.conf"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    assert "warn" not in output.lower(), output


def test_a_chat_goes_through_tls(instances: Cluster, start_front: Any) -> None:
    front = start_front(ports_of(instances))
    first, second = front.connect(source="127.0.0.2"), front.connect(source="127.0.0.3")
    room_id = first.create()["roomId"]
    answer = front.ask(f"/rooms/{room_id}/token")
    # On another instance, perhaps: what else comes first is not the point here.
    second.send("JOIN_REQUEST", roomId=room_id, qrToken=json.loads(answer.text)["token"])
    second.until("JOINED")
    big = "A" * 65536
    first.fence()
    first.say(room_id, big)
    assert second.until("APP_MSG")["body"]["ciphertextB64"] == big
    for client in (first, second):
        client.leave_cleanly()


def test_the_per_address_limit_counts_real_clients(instances: Cluster, start_front: Any) -> None:
    """All come from one proxy; each address has a limit of its own, and what a client claims about
    itself does not help."""
    front = start_front([instances.relays[0].port] * 3)
    # The limit is of one instance: the proxy has no other.
    held = [front.connect(source="127.0.0.4") for _ in range(3)]
    with pytest.raises(Refused) as refused:
        front.connect(source="127.0.0.4", headers={"X-Forwarded-For": "198.51.100.7"})
    assert refused.value.answer.status == 429
    other = front.connect(source="127.0.0.5")
    for client in (*held, other):
        client.leave_cleanly()


def test_figures_are_for_the_inside(instances: Cluster, start_front: Any) -> None:
    front = start_front(ports_of(instances))
    for path in ("/metrics", "/health"):
        assert front.ask(path).status == 200
        assert front.ask(path, source="127.0.0.6").status == 403
    assert front.ask("/live", source="127.0.0.6").status == 200


def test_plain_http_is_sent_to_tls(instances: Cluster, start_front: Any) -> None:
    front = start_front(ports_of(instances))
    connection = http.client.HTTPConnection("127.0.0.1", front.plain_port, timeout=10)
    connection.request("GET", "/live", headers={"Host": HOST})
    answer = connection.getresponse()
    assert (answer.status, answer.getheader("Location")) == (308, f"https://{HOST}/live")
    connection.close()


def test_sticky_sessions_are_an_option(proxy: str, instances: Cluster, start_front: Any) -> None:
    front = start_front(ports_of(instances), *STICKY[proxy])
    cookie = front.ask("/live").getheader("Set-Cookie") or ""
    assert ("RELAY=" in cookie) is (proxy == "haproxy")
    before = [relay.metrics()["total_connections"] for relay in instances.relays]
    held = [
        front.connect(source="127.0.0.7", headers={"Cookie": cookie.split(";")[0] or "a=b"})
        for _ in range(3)
    ]
    after = [relay.metrics()["total_connections"] for relay in instances.relays]
    assert sorted(now - then for now, then in zip(after, before, strict=True)) == [0, 0, 3]
    for client in held:
        client.leave_cleanly()


def test_nobody_is_refused_while_one_instance_drains_or_is_killed(
    new_cluster: Any, ops: Any, start_front: Any
) -> None:
    cluster: Cluster = new_cluster(TRUST_PROXY="127.0.0.1/32")
    stays, drains, dies = cluster.grow(3)
    front = start_front(ports_of(cluster))
    held = [front.connect() for _ in range(6)]
    drains.terminate()
    held += [front.connect() for _ in range(9)]
    dies.kill()
    held += [front.connect() for _ in range(9)]
    assert front.ask("/live").status == 200
    ops.poll(lambda: drains.process.poll() is not None, "the end of the drain", 15)
    held += [front.connect() for _ in range(3)]
    assert stays.metrics()["active_connections"] >= 12
    for client in held:
        client.close()


def test_haproxy_can_use_the_proxy_protocol(ops: Any, start_program: Any, tmp_path: Path) -> None:
    plain, proxied = _free_port(), _free_port()
    endpoints = [f"tcp:{plain}", f"haproxy:tcp:{proxied}"]
    relay = RelayProcess(
        tmp_path,
        wait=False,
        MAX_CONNS_PER_IP="2",
        RELAY_ENDPOINTS=" ".join(f"{text}:interface=127.0.0.1" for text in endpoints),
    )
    relay.port = plain
    try:
        relay.wait_alive()
        front = start_haproxy(
            ops,
            start_program,
            tmp_path,
            [proxied] * 3,
            ("default-server check", "default-server send-proxy-v2 check"),
        )
        held = [front.connect(source="127.0.0.2") for _ in range(2)]
        with pytest.raises(Refused) as refused:
            front.connect(source="127.0.0.2")
        assert refused.value.answer.status == 429
        held.append(front.connect(source="127.0.0.3"))
        for client in held:
            client.leave_cleanly()
    finally:
        relay.stop()
