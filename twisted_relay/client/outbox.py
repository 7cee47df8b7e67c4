"""What was said and is not acknowledged, when it may go out; what was heard. Time is a number."""

from collections import OrderedDict

import attrs
from twisted.internet.defer import Deferred


@attrs.define(eq=False)
class Outgoing:
    """One message; ``done`` fires when its own copy came back."""

    id: str
    ciphertext: str
    done: "Deferred[None]"
    sent: bool = False


@attrs.define
class Outbox:
    """Messages in the order said. They leave at ``rate`` a second after a burst of ``burst``,

    so that a pasted page does not run into the relay's message limit and cost the connection.
    """

    rate: float = 5.0
    burst: float = 20.0
    _allowance: float = attrs.field(default=20.0, init=False)
    _at: float = attrs.field(default=0.0, init=False)
    _waiting: OrderedDict[str, Outgoing] = attrs.field(factory=OrderedDict, init=False)

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, message_id: object) -> bool:
        return message_id in self._waiting

    def allow(self, messages_per_10s: int) -> None:
        """Take the relay's own limit as the measure; a fifth is left for frames of other kinds."""
        self.rate = max(messages_per_10s * 0.08, 0.1)
        self.burst = max(messages_per_10s * 0.4, 1.0)

    def add(self, message: Outgoing) -> None:
        """Queue a new message, last."""
        self._waiting[message.id] = message

    def acknowledge(self, message_id: str) -> Outgoing | None:
        """The message is done with; None if it was not waiting."""
        return self._waiting.pop(message_id, None)

    def again(self) -> None:
        """The connection was lost: everything unacknowledged must go out again, same ids."""
        for message in self._waiting.values():
            message.sent = False

    def repeat(self, message_id: str) -> None:
        """This one must go out again."""
        self._waiting[message_id].sent = False

    def clear(self) -> list[Outgoing]:
        """Give up on everything that waits."""
        left = list(self._waiting.values())
        self._waiting.clear()
        return left

    def due(self, now: float) -> tuple[list[Outgoing], float | None]:
        """What to send now (marked sent), and in how many seconds to ask again, if at all."""
        self._allowance = min(self.burst, self._allowance + max(now - self._at, 0.0) * self.rate)
        self._at = now
        out: list[Outgoing] = []
        for message in self._waiting.values():
            if message.sent:
                continue
            if self._allowance < 1.0:
                return out, (1.0 - self._allowance) / self.rate + 0.001
            self._allowance -= 1.0
            message.sent = True
            out.append(message)
        return out, None


@attrs.define
class Repeats:
    """Knows a message that was heard before, by sender and id, among the last ``remembered``."""

    remembered: int = 4096
    _heard: OrderedDict[tuple[str, str], None] = attrs.field(factory=OrderedDict, init=False)

    def is_repeat(self, member_id: str, message_id: str) -> bool:
        """Whether this one was heard before; remembers it."""
        key = (member_id, message_id)
        if key in self._heard:
            return True
        self._heard[key] = None
        if len(self._heard) > self.remembered:
            self._heard.popitem(last=False)
        return False
