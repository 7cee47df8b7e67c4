"""A real browser on the web client, and terminals beside it.

A page may neither write an error to its console, nor break its own policy, nor ask anybody but its
relay: each of these fails the test, whatever it was about. Nothing here skips.
"""

from __future__ import annotations

import os
import queue
import re
import signal
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from tests.ops.conftest import ROOT, find_program
from tests.system.conftest import RelayProcess

if TYPE_CHECKING:
    from tests.ops.browser.tab import Tab

PATIENCE = 15.0
"""Seconds, for a busy machine; nothing waits for that long where all is well."""
SHOTS = ROOT / "build/screenshots"
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    # A container may have little of it.
    "--disable-dev-shm-usage",
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    # No name leads anywhere, but one: to this machine, as by a name in DNS.
    "--host-resolver-rules=MAP lan.example 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
#: In every document, before its own scripts.
WATCH = """addEventListener('securitypolicyviolation', (event) =>
  console.error(`policy: ${event.effectiveDirective} refused ${event.blockedURI}`));"""


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium, headless."""
    program = find_program("chromium", "the package chromium")
    try:
        from playwright.sync_api import expect, sync_playwright
    except ImportError:
        pytest.fail("playwright is missing; `make test-ops` installs it")
    with sync_playwright() as driver:
        expect.set_options(timeout=PATIENCE * 1000)
        started = driver.chromium.launch(executable_path=program, headless=True, args=[*FLAGS])
        yield started
        started.close()


class Watch:
    """What pages did that they must not do."""

    def __init__(self, port: int) -> None:
        self._hosts = {f"127.0.0.1:{port}"}
        self._expected: list[str] = []
        self.faults: list[str] = []
        self.asked: list[str] = []

    def also(self, host: str) -> None:
        """Allow another host and port."""
        self._hosts.add(host)

    def expect(self, pattern: str) -> None:
        """Allow what the test brings about: browsers write failed requests to the console."""
        self._expected.append(pattern)

    def follow(self, context: Any) -> None:
        context.add_init_script(WATCH)
        context.on("page", self._page)

    def _page(self, page: Any) -> None:
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.faults.append(f"exception: {error}"))
        page.on("request", lambda request: self._asked(request.url))
        page.on("websocket", lambda socket: self._asked(socket.url))

    def _console(self, message: Any) -> None:
        if message.type in ("error", "warning", "assert"):
            self.faults.append(f"console: {message.text} ({message.location.get('url', '')})")

    def _asked(self, url: str) -> None:
        self.asked.append(url)
        parts = urlsplit(url)
        if parts.scheme not in ("blob", "data", "about") and parts.netloc not in self._hosts:
            self.faults.append(f"asked another host: {parts.netloc}")

    def check(self) -> None:
        left = [f for f in self.faults if not any(re.search(e, f) for e in self._expected)]
        assert left == []


def _tab(context: Any, base: str) -> Tab:
    # Late: where playwright is missing, `browser` says so.
    from tests.ops.browser.tab import Tab

    return Tab(context.new_page(), base)


class Browsing:
    """People with browsers at one relay, each with storage of its own, as on several machines."""

    def __init__(self, browser: Any, relay: RelayProcess, folder: Path, name: str) -> None:
        self._browser = browser
        self._folder, self._name = folder, name
        self._contexts: list[Any] = []
        self.relay = relay
        self.watch = Watch(relay.port)
        self.base = f"http://127.0.0.1:{relay.port}"

    def person(self, **options: Any) -> Tab:
        """Somebody with a browser of their own, and one empty tab in it."""
        chosen = {
            "accept_downloads": True,
            "color_scheme": "light",
            "locale": "en-GB",
            "permissions": ["clipboard-read", "clipboard-write"],
            "reduced_motion": "reduce",
            "viewport": {"width": 1100, "height": 760},
        } | options
        context = self._browser.new_context(**chosen)
        context.set_default_timeout(PATIENCE * 1000)
        self._contexts.append(context)
        self.watch.follow(context)
        return _tab(context, self.base)

    def another(self, tab: Tab) -> Tab:
        """One more tab in the same browser."""
        return _tab(tab.page.context, self.base)

    def keep_pictures(self) -> None:
        """Leave what the first two tabs show at the end in build/screenshots."""
        self._folder.mkdir(parents=True, exist_ok=True)
        pages = [page for context in self._contexts for page in context.pages]
        for number, page in enumerate(pages[:2]):
            page.screenshot(path=self._folder / f"{self._name}-{number}.png", timeout=5000)

    def close(self) -> None:
        for context in self._contexts:
            context.close()


@pytest.fixture(scope="session")
def common_relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RelayProcess]:
    """One for all tests that set nothing of their own."""
    relay = RelayProcess(tmp_path_factory.mktemp("relay"), WEB_CLIENT="true")
    yield relay
    relay.stop()
    assert relay.err == "", "a bug of the relay's own, met on the way"


@pytest.fixture
def browse(
    browser: Any,
    common_relay: RelayProcess,
    start_relay: Callable[..., RelayProcess],
    request: pytest.FixtureRequest,
) -> Iterator[Callable[..., Browsing]]:
    """People with browsers, at a relay that runs, at one with settings of the test's choice, or
    else at the common one."""
    made: list[Browsing] = []

    def start(relay: RelayProcess | None = None, **settings: object) -> Browsing:
        if relay is None and settings:
            relay = start_relay(**{"WEB_CLIENT": "true"} | settings)
        name = re.sub(r"\W+", "-", request.node.name.removeprefix("test_")).strip("-")
        made.append(Browsing(browser, relay or common_relay, SHOTS, name))
        return made[-1]

    yield start
    for browsing in made:
        browsing.keep_pictures()
        browsing.close()
    for browsing in made:
        browsing.watch.check()


class Terminal:
    """relay-chat in a process of its own: what is said on one pipe, what it notes on another."""

    def __init__(self, *arguments: str, folder: Path) -> None:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "twisted_relay.chat", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=folder,
            env=kept | {"PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"},
        )
        self.said = self._reading(self.process.stdout)
        self.noted = self._reading(self.process.stderr)

    @staticmethod
    def _reading(stream: IO[bytes] | None) -> queue.Queue[str]:
        lines: queue.Queue[str] = queue.Queue()

        def read() -> None:
            assert stream is not None
            with stream:
                for line in stream:
                    lines.put(line.decode().rstrip("\n"))

        threading.Thread(target=read, daemon=True).start()
        return lines

    def type(self, text: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{text}\n".encode())
        self.process.stdin.flush()

    def hears(self, part: str, within: float = PATIENCE) -> str:
        """The next line that holds ``part``, of what is said; others before it are passed over."""
        return self._next(self.said, part, within)

    def notes(self, part: str, within: float = PATIENCE) -> str:
        """The same of what the program itself has to say."""
        return self._next(self.noted, part, within)

    def _next(self, lines: queue.Queue[str], part: str, within: float) -> str:
        passed: list[str] = []
        ends = time.monotonic() + within
        while (left := ends - time.monotonic()) > 0:
            try:
                line = lines.get(timeout=left)
            except queue.Empty:
                break
            if part in line:
                return line
            passed.append(line)
        pytest.fail(f"waited in vain for {part!r}; there was {passed}")

    def stop(self) -> None:
        if self.process.stdin is not None and not self.process.stdin.closed:
            self.process.stdin.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    """Starts relay-chat with these arguments; each ends with the test."""
    started: list[Terminal] = []

    def start(*arguments: str) -> Terminal:
        folder = tmp_path / f"terminal-{len(started)}"
        folder.mkdir()
        started.append(Terminal(*arguments, folder=folder))
        return started[-1]

    yield start
    for each in started:
        each.stop()


def plain(x: float, y: float) -> tuple[int, int, int]:
    """Colours that run into each other."""
    return int(255 * x), int(120 + 100 * y), int(255 - 200 * y)


def noise(_x: float, _y: float) -> tuple[int, ...]:
    """Colours that no compression makes smaller."""
    return tuple(os.urandom(3))


def make_png(
    width: int, height: int, colour: Callable[[float, float], tuple[int, ...]] = plain
) -> bytes:
    """A picture, of a function that tells the colour at each place, from 0 to 1 both ways."""
    rows = [
        b"\0" + b"".join(bytes(colour(x / width, y / height)) for x in range(width))
        for y in range(height)
    ]
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(b"".join(rows))), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )
