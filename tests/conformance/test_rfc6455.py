"""RFC 6455: the Autobahn case suite, against an echo that is all the relay's own but the answer.

The runner, kosoku, drives Autobahn's case files. What it talks to is a whole relay, as
its settings make it; only who hears the messages is another, since a relay does not echo.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.utils import getProcessOutputAndValue

from twisted_relay.core.settings import load_settings
from twisted_relay.core.wire import framed
from twisted_relay.shell.service import RelayService

#: Large messages, and compression, which the relay does not offer.
SLOW = ("9.*", "12.*", "13.*")
ROOMY = {
    "HOST": "127.0.0.1",
    "PORT": "0",
    "MAX_WS_MSG_BYTES": str(16 * 1024 * 1024),
    "MAX_CONNS_PER_IP": "1000",
    "MAX_CONNECTS_PER_IP_PER_MIN": "100000",
}


class Echo:
    """In the relay's place: says again what it hears, the relay's way."""

    draining = False

    def opened(self, connection: Any) -> Any:
        return SimpleNamespace(connection=connection, heard_at=0.0)

    def received(self, client: Any, payload: bytes) -> None:
        client.connection.write(framed(payload))

    def admits_frame(self, client: Any) -> bool:
        return True

    def lost(self, client: Any, reason: str) -> None:
        """Nothing is kept of a client."""


def echo(service: RelayService) -> None:
    """Let the service's connections talk to an echo."""

    class Protocol(service.wiring.factory.protocol):  # type: ignore[name-defined,misc]
        def onMessage(self, payload: bytes, isBinary: bool) -> None:
            # The suite wants binary messages back, which the relay's protocol refuses.
            if isBinary:
                self.write(b"\x82" + framed(payload)[1:])
            else:
                super().onMessage(payload, isBinary)

    service.wiring.factory.relay = Echo()
    service.wiring.factory.protocol = Protocol


#: The runner in a process of its own: it brings parts of an old Autobahn along, under their names.
RUN = """
import asyncio, json, os, sys
from kosoku import FailureError, run_fuzzingclient
async def run(url, *without):
    return await run_fuzzingclient(url, exclude_cases=list(without), concurrency=4)
try:
    results = asyncio.run(run(*sys.argv[1:]))
except FailureError as failure:
    results = failure.results
print(json.dumps([(r.case_id, r.behavior.value, r.behavior_close.value) for r in results]))
sys.stdout.flush()
os._exit(0)  # the runner's own threads at times end in a crash when the interpreter ends
"""


async def verdicts(fast_path: bool, without: tuple[str, ...]) -> dict[str, list[str]]:
    """The cases that came to each verdict, closing handshake included."""
    settings = ROOMY | {"FAST_PATH": str(fast_path)}
    service = RelayService(load_settings(settings))
    echo(service)
    assert service.wiring.factory.fast_path is fast_path
    service.startService()
    try:
        assert service.port is not None
        url = f"ws://127.0.0.1:{service.port.getHost().port}/ws"
        out, err, code = await getProcessOutputAndValue(
            sys.executable, ["-c", RUN, url, *without], env=os.environ
        )
        assert code == 0, err.decode()
    finally:
        await service.stopService()
    found: dict[str, list[str]] = {}
    for case, behaviour, close in json.loads(out):
        found.setdefault(behaviour, []).append(case)
        if behaviour != "UNIMPLEMENTED":
            found.setdefault(f"close {close}", []).append(case)
    return found


#: Where the RFC leaves open what to do, and the suite only looks on.
LEFT_OPEN = ["7.1.6", "7.13.1", "7.13.2"]


@pytest.mark.parametrize("fast_path", [True, False], ids=["fast path", "plain path"])
async def test_each_case_passes_in_its_strict_form(fast_path: bool) -> None:
    found = await verdicts(fast_path, SLOW)
    assert sum(map(len, found.values())) >= 2 * 247, "cases are missing"
    assert found.pop("INFORMATIONAL") == found.pop("close INFORMATIONAL") == LEFT_OPEN
    assert set(found) == {"OK", "close OK"}, Counter(found)


@pytest.mark.full
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("fast_path", [True, False], ids=["fast path", "plain path"])
async def test_the_whole_suite_passes(fast_path: bool) -> None:
    found = await verdicts(fast_path, ())
    assert found.pop("INFORMATIONAL") == found.pop("close INFORMATIONAL") == LEFT_OPEN
    assert {name: len(cases) for name, cases in found.items()} == {
        "OK": 298,
        "close OK": 298,
        # Compression.
        "UNIMPLEMENTED": 216,
    }
