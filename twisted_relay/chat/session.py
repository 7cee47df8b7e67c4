"""One person's conversation: enter, talk, leave with everything delivered."""

from collections.abc import Iterable
from typing import Any

from twisted.internet.defer import Deferred

from ..client.cipher import RoomCipher
from ..client.conversation import Conversation
from ..client.events import Ended
from ..client.happenings import Happening
from ..client.invite import Invite
from ..client.words import safety_words
from . import commands
from .arguments import Options
from .files import Files, NoFile, not_sent
from .harmless import batches, pieces
from .people import People
from .reporter import Reporter
from .screen import Screen, TerminalScreen

STANDSTILL = 60.0  # seconds without an acknowledgement after which the last words are given up
_SAY_THAT_WE_WAIT = 2.0
_IN_FLIGHT = 16  # messages of the input that may wait for their acknowledgement


class Chat:
    """Carries out what the person types, and keeps count of what is not delivered yet."""

    def __init__(self, reactor: Any, options: Options, screen: Screen) -> None:
        self._reactor, self._options, self.screen = reactor, options, screen
        invite = options.invite
        self._cipher = RoomCipher(invite.key) if invite is not None else RoomCipher.generate()
        self._talk = Conversation(
            options.relay,
            self._told,
            reactor=reactor,
            cipher=self._cipher,
            name=options.name,
            trust_root=options.trust_root,
        )
        self.people = People()
        self.files = Files(screen, options.downloads, self._talk.send_file, self._moved)
        self._reporter = Reporter(screen, self.people, self.files, creates=invite is None)
        self._over: Deferred[int] = Deferred()
        self._slow: list[Deferred[None]] = []  # the input waits for these
        self._open = 0  # messages and files that are not acknowledged
        self._lost_something = self._leaving = self._left = False
        self._timer: Any = None

    async def enter(self) -> None:
        """Make a room or join one. Raises ClientError."""
        invite = self._options.invite
        if invite is None:
            await self._talk.create()
        else:
            once = invite.token is not None
            await self._talk.join(invite.room_id, invite.token, single_use=once)
        self._reporter.welcome(self._talk.label)
        if invite is None:
            self.show_invite(once=self._options.once)

    def left(self) -> "Deferred[int]":
        """Fires with the exit code when the conversation is over."""
        return self._over

    # What the person types

    async def lines(self, lines: Iterable[str]) -> None:
        """Lines of the input that came together; returns when the next ones may come."""
        for line in batches(lines) if self._options.quiet else lines:
            await self._line(line)

    async def _line(self, line: str) -> None:
        if self._leaving:
            return
        if self._options.quiet:
            await self._say(line)
        elif not line.strip():
            return
        elif line.startswith("/") and not line.startswith("//"):
            commands.run(self, line)
        else:
            await self._say(line[1:] if line.startswith("//") else line)

    def input_ended(self) -> None:
        """There is nothing more to come from the person."""
        if not self._options.stay:
            self.quit()

    async def _say(self, text: str) -> None:
        self.screen.own(self._talk.label, text)
        for piece in pieces(text) or [""]:
            self._await(self._talk.say(piece), "")
        if self._open >= _IN_FLIGHT and not self._leaving:
            self._slow.append(Deferred())
            await self._slow[-1]

    def send(self, words: str) -> None:
        """Send a file. Raises NoFile."""
        try:
            sent = self.files.send(words)
        except NoFile:
            self._lost_something = True
            raise
        self._await(sent, f" ({words})")

    def _await(self, delivered: "Deferred[None]", what: str) -> None:
        def failed(failure: Any) -> None:
            self._lost_something = True
            if not self._left:
                not_sent(self.screen, what, failure.value)

        def settled(_: object) -> None:
            self._open -= 1
            self._moved()
            if self._open < _IN_FLIGHT:
                self._go_on()

        self._open += 1
        delivered.addErrback(failed).addCallback(settled)

    def _go_on(self) -> None:
        slow, self._slow = self._slow, []
        for waiting in slow:
            waiting.callback(None)

    # What commands show

    def show_invite(self, *, once: bool) -> None:
        """Show a link, with the newest single-use token if it is for one use."""
        qr = self._talk.qr if once else None
        life = " (its join token serves once, within a minute)" if qr is not None else ""
        self.screen.note(f"others join by this link{life}; who has it can read everything:")
        link = self._invite(qr.token if qr is not None else None)
        self.screen.link(link)
        if Invite.parse(link).relay_url != self._options.relay:
            self.screen.note(f"relay-chat takes it after the address: {self._options.relay}")

    def show_qr(self) -> None:
        """Show the invite as a QR code, where there is a terminal."""
        if isinstance(self.screen, TerminalScreen):
            self.screen.qr(self._invite(None))
        else:
            self.screen.warn("QR codes need a terminal that is not dumb")

    def show_words(self) -> None:
        """Show the safety words of the room's key."""
        self.screen.warn(f"safety words: {' '.join(safety_words(self._cipher.key))}")
        self.screen.warn("if others see the same ones, they have the same key as you")

    def _invite(self, token: str | None) -> str:
        return Invite(self._options.relay, self._talk.room_id, self._cipher.key, token).link

    # The end

    def quit(self) -> None:
        """Leave when everything is delivered, or nothing moves any more."""
        if self._leaving:
            return
        self._leaving = True
        self._go_on()
        if not self._open:
            self._leave()
            return
        self._moved()
        if not self._options.quiet:
            self._reactor.callLater(_SAY_THAT_WE_WAIT, self._say_that_we_wait)

    def _say_that_we_wait(self) -> None:
        if self._open and not self._left:
            self.screen.note("waiting until everything is delivered; Ctrl-C leaves at once")

    def interrupt(self) -> None:
        """Leave now. What is not delivered is lost, and said so; the second time ends at once."""
        if self._left:
            self._finish(int(self._lost_something))
            return
        self._leaving = True
        self._go_on()
        self._give_up()

    def _moved(self) -> None:
        """Something was acknowledged: wait for the rest, as long as there is one."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        if self._leaving and not self._left:
            if self._open:
                self._timer = self._reactor.callLater(STANDSTILL, self._give_up)
            else:
                self._leave()

    def _give_up(self) -> None:
        if self._open:
            self._lost_something = True
            self.screen.warn("some of the last messages or files may not have arrived")
        self._leave()

    def _leave(self) -> None:
        self._left = True
        left = Deferred.fromCoroutine(self._talk.leave())
        left.addCallback(lambda _: self._finish(int(self._lost_something)))

    def _told(self, event: Happening) -> None:
        self._reporter.told(event)
        if isinstance(event, Ended) and not self._leaving:
            self._finish(1)

    def _finish(self, code: int) -> None:
        if not self._over.called:
            self._over.callback(code)
