"""What was sent and is not acknowledged, when it may go out; what was heard. Time is a number."""

from collections import OrderedDict

import attrs
from twisted.internet.defer import Deferred

from .limits import Limits
from .pace import Pace


@attrs.define(eq=False)
class Outgoing:
    """One frame for the room; ``done`` fires when the relay has acknowledged it."""

    id: str
    frame: bytes
    done: "Deferred[None]"
    sent: bool = False


@attrs.define
class Outbox:
    """Frames in the order said. They leave at the pace that the relay's limits allow."""

    _pace: Pace = attrs.field(factory=Pace)
    _waiting: OrderedDict[str, Outgoing] = attrs.field(factory=OrderedDict, init=False)

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, frame_id: object) -> bool:
        return frame_id in self._waiting

    def allow(self, limits: Limits) -> None:
        """Take the relay's own limits as the measure."""
        self._pace.allow(limits)

    def add(self, message: Outgoing) -> None:
        """Queue a new frame, last."""
        self._waiting[message.id] = message

    def take_out(self, frame_id: str) -> Outgoing | None:
        """The frame is done with; None if it was not waiting."""
        return self._waiting.pop(frame_id, None)

    def again(self) -> None:
        """The connection was lost: everything unacknowledged must go out again, same ids."""
        for message in self._waiting.values():
            message.sent = False

    def repeat(self, frame_id: str) -> None:
        """This one must go out again."""
        self._waiting[frame_id].sent = False

    def clear(self) -> list[Outgoing]:
        """Give up on everything that waits."""
        left = list(self._waiting.values())
        self._waiting.clear()
        return left

    def due(self, now: float) -> tuple[list[Outgoing], float | None]:
        """What to send now (marked sent), and in how many seconds to ask again, if at all."""
        out: list[Outgoing] = []
        for message in self._waiting.values():
            if message.sent:
                continue
            wait = self._pace.take(len(message.frame), now)
            if wait > 0.0:
                return out, wait
            message.sent = True
            out.append(message)
        return out, None


@attrs.define
class Repeats:
    """Knows a frame that was heard before, by sender and id, among the last ``remembered``."""

    remembered: int = 4096
    _heard: OrderedDict[tuple[str, str], None] = attrs.field(factory=OrderedDict, init=False)

    def is_repeat(self, member_id: str, frame_id: str) -> bool:
        """Whether this one was heard before; remembers it. Without a member nobody can say."""
        key = (member_id, frame_id)
        if not member_id:
            return False
        if key in self._heard:
            return True
        self._heard[key] = None
        if len(self._heard) > self.remembered:
            self._heard.popitem(last=False)
        return False
