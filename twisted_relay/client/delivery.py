"""Gets frames to the room: at the pace allowed, and again after a loss until acknowledged."""

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed

from .backoff import Backoff
from .errors import ClientError, Refused, SeatLost
from .limits import Limits
from .outbox import Outbox, Outgoing


class Delivery:
    """One member's outgoing frames, over one link after another. ``clock`` drives the waits."""

    def __init__(self, clock: Any, random: Callable[[], float]) -> None:
        self._clock = clock
        self._outbox = Outbox()
        self._backoff = Backoff(random)
        self._write: Callable[[bytes], None] | None = None
        self._timer: Any = None
        self._held = False
        self._drained: list[Deferred[None]] = []

    def __contains__(self, frame_id: object) -> bool:
        return frame_id in self._outbox

    def allow(self, limits: Limits) -> None:
        """Keep under the relay's limits."""
        self._outbox.allow(limits)

    def send(self, frame_id: str, frame: bytes) -> "Deferred[None]":
        """Queue a frame; fires when it is acknowledged. Cancelling takes back what has not left."""
        if frame_id in self._outbox:
            return fail(ClientError("a message with this id waits for its acknowledgement"))
        done: Deferred[None] = Deferred(lambda _: self._taken_back(frame_id))
        self._outbox.add(Outgoing(frame_id, frame, done))
        self._pump()
        return done

    def start(self, write: Callable[[bytes], None], patience: float = 0.0) -> None:
        """There is a link to write to: what was not acknowledged goes out, in the old order.

        At once, or after ``patience`` seconds, unless ``release`` comes first.
        """
        self._stop_timer()
        self._write = write
        self._outbox.again()
        if patience:
            self._hold(patience)
        else:
            self._pump()

    def release(self) -> None:
        """What was held back goes out."""
        self._held = False
        self._pump()

    def stop(self) -> None:
        """The link is gone; everything waits for the next one."""
        self._stop_timer()
        self._write = None

    def acknowledged(self, frame_id: str) -> None:
        """The relay has handed this one to the room."""
        message = self._outbox.take_out(frame_id)
        if message is not None:
            self._backoff.reset()
            message.done.callback(None)
            self._fire_drained()

    def refused(self, frame_id: str, refusal: Refused) -> None:
        """The relay answered ERROR to this one: it fails, or goes out again a little later."""
        if refusal.code == "ERR_UNAVAILABLE" and frame_id in self._outbox:
            self._outbox.repeat(frame_id)
            self._hold(max(self._backoff.next(), refusal.retry_after or 0.0))
            return
        message = self._outbox.take_out(frame_id)
        if message is not None:
            message.done.errback(refusal)
        self._fire_drained()

    def drain(self) -> "Deferred[None]":
        """Fires when nothing is waiting for its acknowledgement any more."""
        if not len(self._outbox):
            return succeed(None)
        self._drained.append(Deferred())
        return self._drained[-1]

    def end(self, reason: str) -> None:
        """It is over: what waits fails with SeatLost."""
        self.stop()
        for message in self._outbox.clear():
            message.done.errback(SeatLost(reason))
        self._fire_drained()

    def _taken_back(self, frame_id: str) -> None:
        self._outbox.take_out(frame_id)
        self._fire_drained()

    def _pump(self) -> None:
        if self._write is None or self._held:
            return
        self._stop_timer()
        due, again = self._outbox.due(self._clock.seconds())
        for message in due:
            self._write(message.frame)
        if again is not None:
            self._timer = self._clock.callLater(again, self._pump)

    def _hold(self, seconds: float) -> None:
        """Nothing goes out for a while: nobody is there, or the relay is without its room state."""
        if not self._held:
            self._stop_timer()
            self._held = True
            self._timer = self._clock.callLater(seconds, self.release)

    def _stop_timer(self) -> None:
        self._held = False
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()

    def _fire_drained(self) -> None:
        if len(self._outbox):
            return
        drained, self._drained = self._drained, []
        for waiting in drained:
            waiting.callback(None)
