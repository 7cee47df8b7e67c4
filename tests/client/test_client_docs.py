"""What docs/client.md shows does run, and so does the bot in docs/examples."""

import ast
import inspect
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import reactor

import twisted_relay.client
from tests.system.conftest import ROOT, RelayProcess
from twisted_relay.client import Conversation, FileReceived, Invite, RoomCipher, Said, Stats

KEY = bytes(range(32))
PAGE = ROOT / "docs/client.md"
BOT = str(ROOT / "docs/examples/echo_bot.py")
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
PROGRAMS = [block for block in BLOCKS if "react(main)" in block]
PARTS = [block for block in BLOCKS if block not in PROGRAMS]
Start = Callable[..., "Program"]


class Program:
    """A Python program in a process of its own."""

    def __init__(self, output: Path, *arguments: str) -> None:
        self._output = output
        with output.open("wb") as stream:
            self.process = subprocess.Popen(
                [sys.executable, *arguments],
                stdout=stream,
                stderr=subprocess.STDOUT,
                env={"PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"},
            )

    @property
    def output(self) -> str:
        return self._output.read_text()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts programs, which end with the test."""
    started: list[Program] = []

    def run(*arguments: str) -> Program:
        started.append(Program(tmp_path / f"output-{len(started)}", *arguments))
        return started[-1]

    yield run
    for program in started:
        if program.process.poll() is None:
            program.process.kill()
            program.process.wait()


def url(relay: RelayProcess) -> str:
    return f"ws://127.0.0.1:{relay.port}/ws"


async def test_the_first_program_talks(
    relay: RelayProcess, start: Start, talkers: Any, until: Any, tmp_path: Path
) -> None:
    assert len(PROGRAMS) == 1
    program = PROGRAMS[0].replace("ws://127.0.0.1:3001/ws", url(relay))
    (tmp_path / "first.py").write_text(program)
    first = start(str(tmp_path / "first.py"))
    await until(lambda: first.output.endswith("\n") or first.process.poll() is not None)
    invite = Invite.parse(first.output)
    ben = talkers(url(relay), invite.key, name="Ben")
    await ben.talk.join(invite.room_id)
    await ben.talk.say("hi there")
    await until(lambda: len(ben.of(Said)) == 2)
    assert ben.of(Said)[1].text == "Ben said 8 characters"
    assert "Ben: hi there" in first.output
    first.process.send_signal(signal.SIGINT)
    await until(lambda: first.process.poll() is not None)


async def test_the_parts_run_one_after_the_other(relay: RelayProcess) -> None:
    names = {name: getattr(twisted_relay.client, name) for name in twisted_relay.client.__all__}
    cipher = RoomCipher(KEY)
    talk = Conversation(url(relay), reactor=reactor, cipher=cipher, name="Ada")
    names |= {"RELAY": url(relay), "reactor": reactor, "cipher": cipher, "talk": talk}
    await talk.create()
    assert len(PARTS) >= 7
    for part in PARTS:
        code = compile(part, PAGE.name, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        running = eval(code, names)  # noqa: S307 - our own page
        if inspect.iscoroutine(running):
            await running
    await names["ben"].leave()
    await talk.leave()


async def test_the_bot_does_what_it_says(
    relay: RelayProcess, start: Start, talkers: Any, until: Any
) -> None:
    ann = talkers(url(relay), KEY, name="Ann")
    await ann.talk.create()
    link = Invite(url(relay), ann.talk.room_id, KEY, ann.talk.qr.token).link
    bot = start(BOT, link)
    await until(lambda: ann.talk.participants == 2, "the bot")
    for text, answer in (
        ("hello", "echo: hello"),
        ("!count", "we are 2, me included"),
        ("!help", "I echo. !help says this, !count tells how many we are, !bye sends me away."),
    ):
        await ann.talk.say(text)
        await until(lambda answer=answer: ann.of(Said)[-1].text == answer, answer)
    await ann.talk.say("echo: from another bot")
    await ann.talk.send_file("a.bin", bytes(200_000), "a/b")
    await until(lambda: ann.of(FileReceived))
    (got,) = ann.of(FileReceived)
    assert (got.name, got.content, got.sender) == ("a.bin", bytes(200_000), "echo")
    assert ann.of(Said)[-1].text == "echo: from another bot", "it does not answer its kind"
    await ann.talk.send_file("a.bin", got.content, "a/b")
    await ann.talk.say("!bye")
    await until(lambda: ann.of(Stats)[-1].participants == 1, "its good-bye")
    assert ann.of(FileReceived) == [got], "nor a bot's file, which comes back as it was sent"
    await until(lambda: bot.process.poll() is not None)
    assert bot.process.returncode == 0
    assert bot.output == "it is over: left\n"


async def test_the_bot_leaves_in_good_order(
    relay: RelayProcess, start: Start, talkers: Any, until: Any
) -> None:
    ann = talkers(url(relay), KEY, name="Ann")
    await ann.talk.create()
    bot = start(BOT, Invite(url(relay), ann.talk.room_id, KEY).link)
    await until(lambda: ann.talk.participants == 2, "the bot")
    bot.process.send_signal(signal.SIGTERM)
    await until(lambda: ann.talk.participants == 1, "its good-bye")
    await until(lambda: bot.process.poll() is not None)
    assert bot.output == "it is over: left\n"


async def test_the_bot_says_what_is_wrong(start: Start, until: Any) -> None:
    nobody = Invite("ws://127.0.0.1:1/ws", "roomroom", KEY).link
    trials = {
        "echo_bot: not an invite": start(BOT, "hello"),
        "echo_bot: nobody listens there": start(BOT, nobody),
        "usage: echo_bot.py LINK": start(BOT, nobody[nobody.index("#") :]),
    }
    for said, bot in trials.items():
        await until(lambda bot=bot: bot.process.poll() is not None)
        assert bot.process.returncode == 1
        (line,) = bot.output.splitlines()
        assert line.startswith(said)


def test_the_page_names_all_that_is_public() -> None:
    page = PAGE.read_text()
    unsaid = {"Event", "Happening", "Limits", "WORDS", "check_url"}
    assert {name for name in twisted_relay.client.__all__ if name not in page} == unsaid


def test_all_that_is_public_is_documented() -> None:
    for name in twisted_relay.client.__all__:
        public = getattr(twisted_relay.client, name)
        if inspect.isclass(public) or inspect.isfunction(public):
            assert inspect.getdoc(public), name
        if inspect.isclass(public):
            for attribute, value in vars(public).items():
                if not attribute.startswith("_") and callable(value):
                    assert inspect.getdoc(value), f"{name}.{attribute}"
    assert (ROOT / "twisted_relay/py.typed").exists()


def test_importing_the_library_chooses_no_reactor() -> None:
    code = "import sys, twisted_relay.client; sys.exit('twisted.internet.reactor' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=60)
