"""A chat between a keyboard, a screen and signals.

What members say goes to standard output, and so does the link that others join by; everything
else is said on standard error, unless both are a terminal.
"""

import os
import signal
import sys
from typing import Any, Protocol

from twisted.internet.defer import Deferred

from ..client.errors import ClientError
from .arguments import Options, parse
from .faults import sentence
from .harmless import harmless
from .reading import InputReader, Lines, first_line
from .screen import Screen, TerminalScreen
from .session import Chat

_INPUT = 0  # the file descriptor
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Typed(Protocol):
    """What makes lines of the bytes that are typed; None among them is the end of the input."""

    def feed(self, chunk: bytes, /) -> Any:
        """The lines that are finished by ``chunk``."""


class Program:
    """The chat between a keyboard, a screen and signals."""

    def __init__(self, reactor: Any, options: Options) -> None:
        self._reactor = reactor
        self._screen, self._typed = _terminal(options)
        self._chat = Chat(reactor, options, self._screen)
        self._screen.on_gone = self._chat.quit
        self._entered = False
        self._code: int | None = None

    def run(self) -> int:
        """Run the reactor until the conversation is over; the exit code."""
        self._reactor.callWhenRunning(self._start)
        try:
            self._reactor.run()
        finally:
            self._screen.close()
        return 1 if self._code is None else self._code

    def _start(self) -> None:
        for number in _ENDING:
            signal.signal(number, lambda *_: self._reactor.callFromThread(self._interrupted))
        signal.signal(signal.SIGCONT, lambda *_: self._reactor.callFromThread(self._continued))
        signal.signal(signal.SIGWINCH, lambda *_: self._reactor.callFromThread(self._screen.redraw))
        Deferred.fromCoroutine(self._talk()).addErrback(self._failed).addBoth(self._stop)

    async def _talk(self) -> None:
        await self._chat.enter()
        self._entered = True
        self._screen.begin()
        InputReader(self._reactor, _INPUT, self._heard, self._ended).start()
        self._code = await self._chat.left()

    def _failed(self, failure: Any) -> Any:
        self._screen.close()
        if failure.check(ClientError) is None:
            return failure  # a bug: Twisted shows where
        self._code = _complain(sentence(failure.value), 1)
        return None

    def _stop(self, result: Any) -> Any:
        if self._reactor.running:
            self._reactor.stop()
        return result

    def _interrupted(self) -> None:
        if self._entered:
            self._chat.interrupt()
        else:
            self._stop(None)

    def _continued(self) -> None:
        if self._entered and self._code is None:
            self._screen.begin()

    def _heard(self, chunk: bytes) -> "Deferred[None]":
        return Deferred.fromCoroutine(self._lines(chunk))

    async def _lines(self, chunk: bytes) -> None:
        lines = list(self._typed.feed(chunk))
        await self._chat.lines(line for line in lines if line is not None)
        if None in lines:
            self._chat.input_ended()
        self._screen.redraw()

    def _ended(self) -> None:
        rest = self._typed.last() if isinstance(self._typed, Lines) else ""
        said = Deferred.fromCoroutine(self._chat.lines([rest] if rest else []))
        said.addCallback(lambda _: self._chat.input_ended())


def _terminal(options: Options) -> tuple[Screen, Typed]:
    """Where to show things and how to read: as on a terminal only where both ends are one."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    both = os.isatty(_INPUT) and sys.stdout.isatty()
    if options.quiet or not both or os.environ.get("TERM", "dumb") == "dumb":
        return Screen(sys.stdout, sys.stderr, quiet=options.quiet), Lines()
    screen = TerminalScreen(sys.stdout, sys.stderr, fd=_INPUT, qr=options.qr)
    return screen, screen.edit


def _ask_for_link() -> str:
    if os.isatty(_INPUT):
        print("link: ", end="", file=sys.stderr, flush=True)
    return first_line(_INPUT)


def start(argv: list[str]) -> int:
    """Read the command line and chat; the exit code."""
    try:
        options = parse(argv, _ask_for_link)
    except ClientError as fault:
        return _complain(str(fault), 2)
    # Here, since the reactor is chosen by its first import, and a bad command line needs none.
    from twisted.internet import reactor

    return Program(reactor, options).run()


def _complain(words: str, code: int) -> int:
    print(f"relay-chat: {harmless(words)}", file=sys.stderr, flush=True)
    return code
