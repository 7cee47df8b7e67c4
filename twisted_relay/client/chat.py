"""relay-chat: an encrypted chat in a terminal.

Messages go to standard output as ``name: text``, and so does the command that joins the room;
everything else is said on standard error.
"""

import argparse
import sys
import time
from typing import Any, TextIO

from twisted.internet.defer import CancelledError, Deferred, TimeoutError

from . import events
from .cipher import CHAT_CONTEXT, CipherError, RoomCipher
from .connection import RelayClient
from .errors import ClientError
from .frames import new_id
from .invite import Invite
from .link import check_url, fetch_token
from .messages import TextMessage, UnknownMessage, decode, encode
from .terminal import InputLines, harmless, name_of, pieces

LAST_WORDS_TIMEOUT = 15.0  # seconds to deliver what was said before the end of the input
_IN_FLIGHT = 16  # messages of the input that may wait for their acknowledgement
_HELP = "/invite shows how to join, /invite once a single use of it, /quit (or Ctrl-D) leaves"


class Chat:
    """One person's conversation. ``run`` returns the exit code: 0 left, 1 lost the seat."""

    def __init__(
        self, reactor: Any, url: str, *, name: str | None, out: TextIO, notes: TextIO, fd: int
    ) -> None:
        self._reactor, self._url, self._name = reactor, url, name
        self._out, self._notes, self._fd = out, notes, fd
        self._client = RelayClient(url, self._on_event, reactor=reactor)
        self._cipher = RoomCipher.generate()
        self._finished: Deferred[int] = Deferred()
        self._room_line: list[Deferred[None]] = []
        self._in_flight = 0
        self._leaving = False

    async def run(self, invite: Invite | None) -> int:
        """Enter, talk until the end of input, /quit or the loss of the seat. Raises ClientError."""
        await self._enter(invite)
        self._reactor.addSystemEventTrigger("before", "shutdown", self._at_shutdown)
        InputLines(self._reactor, self._fd, self._line, self._input_ended).start()
        return await self._finished

    async def _enter(self, invite: Invite | None) -> None:
        if invite is None:
            await self._client.create(self._name)
            self._show_invite(once=False)
            return
        self._cipher = RoomCipher(invite.key)
        token, once = invite.token, invite.token is not None
        if token is None:
            token = await fetch_token(self._url, invite.room_id, self._reactor)
        await self._client.join(invite.room_id, token, label=self._name, single_use=once)

    # What the room says

    def _on_event(self, event: events.Event) -> None:
        match event:
            case events.Message(own=False):
                self._show(event)
            case events.Joined(resumed=True):
                self._note("back in the room")
            case events.Joined():
                people = f"{event.participants} of {event.max}"
                self._note(f"you are {name_of(event.label)}, {people} in the room. {_HELP}")
            case events.Notice():
                self._note(harmless(event.text))
            case events.Lost():
                self._note(f"{harmless(event.reason)}; trying again in {event.retry_in:.1f} s")
            case events.Gap():
                self._note("some messages may be missing here")
            case events.Ended() if not self._leaving:
                self._note(f"the conversation is over for you: {harmless(event.reason)}")
                self._finish(1)
            case _:
                pass

    def _show(self, message: events.Message) -> None:
        try:
            text = decode(self._cipher.open(message.ciphertext, CHAT_CONTEXT))
        except (CipherError, UnknownMessage) as fault:
            self._note(f"a message is not shown: {fault}")
            return
        if isinstance(text, TextMessage):
            self._put(self._out, f"{name_of(text.sender)}: {harmless(text.text)}")

    def _note(self, text: str) -> None:
        self._put(self._notes, f"* {text}")

    def _put(self, stream: TextIO, line: str) -> None:
        try:
            print(line, file=stream, flush=True)
        except BrokenPipeError:  # nobody reads us any more
            self._input_ended()

    def _show_invite(self, *, once: bool) -> None:
        qr = self._client.qr if once else None
        token = qr.token if qr else None
        invite = Invite(self._url, self._client.room_id, self._cipher.key, token)
        life = "within a minute, for one person" if qr else "while the room lives"
        self._note(f"to join ({life}; who has this can read everything):")
        self._put(self._out, f"relay-chat {self._url} {invite.link}")

    # What the person says

    def _line(self, line: str) -> "Deferred[None] | None":
        command = line.strip()
        if self._leaving or not command:
            return None
        if command == "/quit":
            self._input_ended()
        elif command in ("/invite", "/invite once"):
            self._show_invite(once=command.endswith("once"))
        elif command.startswith("/") and not command.startswith("//"):
            self._note(_HELP)
        else:
            return self._say(line[1:] if line.startswith("//") else line)
        return None

    def _say(self, line: str) -> "Deferred[None] | None":
        name = self._client.label or self._name or "somebody"  # older relays give a creator none
        for text in pieces(line):
            message_id = new_id()
            message = TextMessage(message_id, int(time.time() * 1000), name, text)
            self._in_flight += 1
            said = self._client.say(self._cipher.seal(encode(message), CHAT_CONTEXT), message_id)
            said.addErrback(lambda failure: self._note(f"not sent: {harmless(str(failure.value))}"))
            said.addCallback(lambda _: self._said())
        if self._in_flight < _IN_FLIGHT:
            return None
        self._room_line.append(Deferred())
        return self._room_line[-1]

    def _said(self) -> None:
        self._in_flight -= 1
        if self._in_flight < _IN_FLIGHT:
            waiting, self._room_line = self._room_line, []
            for line in waiting:
                line.callback(None)

    # The end

    def _input_ended(self) -> None:
        if not self._leaving:
            self._leaving = True
            Deferred.fromCoroutine(self._leave()).addCallbacks(self._finish, self._failed)

    async def _leave(self) -> int:
        code = 0
        try:
            await self._client.drain().addTimeout(LAST_WORDS_TIMEOUT, self._reactor)
        except (TimeoutError, CancelledError):
            self._note("some of the last messages may not have arrived")
            code = 1
        await self._client.leave()
        return code

    def _at_shutdown(self) -> "Deferred[None]":
        self._leaving = True
        return Deferred.fromCoroutine(self._client.leave())

    def _failed(self, failure: Any) -> None:
        if not self._finished.called:
            self._finished.errback(failure)

    def _finish(self, code: int) -> None:
        if not self._finished.called:
            self._finished.callback(code)


def arguments(argv: list[str]) -> tuple[str, Invite | None, str | None]:
    """Address, invite and name of a command line. Raises ClientError; argparse may exit with 2."""
    parser = argparse.ArgumentParser(
        prog="relay-chat",
        description="An end-to-end encrypted chat in the terminal, over a relay.",
        epilog="Without INVITE a room is made, and the command that joins it is printed. " + _HELP,
    )
    parser.add_argument("url", metavar="URL", help="the relay: ws://host:port/ws or wss://host/ws")
    parser.add_argument("invite", metavar="INVITE", nargs="?", help="what /invite prints")
    parser.add_argument("--name", help="how others see you (at most 32 characters)")
    parsed = parser.parse_args(argv)
    invite = Invite.parse(parsed.invite) if parsed.invite else None
    return check_url(parsed.url), invite, parsed.name


def main(argv: list[str] | None = None) -> None:
    """The console script; always exits: 0 left, 1 could not enter or lost the seat, 2 bad use."""
    try:
        url, invite, name = arguments(sys.argv[1:] if argv is None else argv)
    except (ClientError, ValueError) as fault:
        sys.exit(_complain(fault, 2))
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    # Here, since the reactor is chosen by its first import, and a bad command line needs none.
    from twisted.internet import reactor, task

    async def talk(the_reactor: Any) -> None:
        chat = Chat(the_reactor, url, name=name, out=sys.stdout, notes=sys.stderr, fd=0)
        try:
            code = await chat.run(invite)
        except ClientError as fault:
            code = _complain(fault, 1)
        raise SystemExit(code)

    task.react(talk, (), reactor)


def _complain(fault: Exception, code: int) -> int:
    print(f"relay-chat: {harmless(str(fault))}", file=sys.stderr, flush=True)
    return code
