"""Questions and answers over one link after another: connect, ask one thing at a time."""

from typing import Any

from twisted.internet.defer import CancelledError, Deferred, TimeoutError

from . import frames
from .errors import ClientError, ConnectFailed
from .frames import Frame
from .link import Link

ANSWER_TIMEOUT = 15.0


class Exchange:
    """Holds the link that is in use, if any, and the one question that is open on it."""

    def __init__(self, clock: Any) -> None:
        self._clock = clock
        self._hello: Deferred[None] | None = None
        self._asked: tuple[str, Deferred[Frame]] | None = None
        self.link: Link | None = None

    async def begin(self, link: Link) -> None:
        """Take a new link and wait until the relay says HELLO. Raises ConnectFailed."""
        self.link = link
        self._hello = Deferred()
        try:
            await self._within(self._hello, ANSWER_TIMEOUT)
        except ConnectFailed:
            self.close()
            raise

    def greeted(self) -> None:
        """HELLO came."""
        if self._hello is not None and not self._hello.called:
            self._hello.callback(None)

    async def ask(
        self, kind: str, body: dict[str, object], seconds: float = ANSWER_TIMEOUT
    ) -> Frame:
        """Send a frame and wait for what answers it. Raises ConnectFailed or Refused."""
        if self.link is None:
            raise ConnectFailed("the relay closed the connection")
        frame_id = frames.new_id()
        answer: Deferred[Frame] = Deferred()
        earlier, self._asked = self._asked, (frame_id, answer)
        if earlier is not None:
            earlier[1].errback(ConnectFailed("the question was given up"))
        self.link.send(frames.build(kind, body, frame_id))
        frame: Frame = await self._within(answer, seconds)
        return frame

    def answered(self, frame: Frame, fault: ClientError | None = None) -> bool:
        """Whether ``frame`` (an answer, or with ``fault`` an error) was for the open question."""
        asked = self._asked
        if asked is None or frame.re not in (None, asked[0]):  # older relays have no re
            return False
        self._asked = None
        if fault is None:
            asked[1].callback(frame)
        else:
            asked[1].errback(fault)
        return True

    def lost(self, fault: ConnectFailed) -> bool:
        """The link is gone; whether somebody waited for an answer on it and was told."""
        self.link = None
        hello, asked, self._asked = self._hello, self._asked, None
        for waiting in (hello, asked and asked[1]):
            if waiting is not None and not waiting.called:
                waiting.errback(fault)
                return True
        return False

    def close(self) -> None:
        """Close the link, if there is one; who waits for an answer on it waits no more."""
        link = self.link
        self.lost(ConnectFailed("the connection was closed"))
        if link is not None:
            link.close()

    async def _within(self, waited: "Deferred[Any]", seconds: float) -> Any:
        try:
            return await waited.addTimeout(seconds, self._clock)
        except (TimeoutError, CancelledError) as fault:
            self._asked = None
            raise ConnectFailed("the relay does not answer (timeout)") from fault
