"""One client's part of the conversation, as a state table: facts go in, intents come out.

The session does no I/O and knows no store. Its caller owes it three things: carry out each intent
in the order given; after `RoomCreate` or `JoinRequest`, call `joined` or `refused` once; after
`Leave`, call `left` once. Between such an intent and its outcome the session is *waiting*: frames
that arrive are parked, and `resume` hands out what they ask for, still in order. What can be
parked is bounded by the buckets, which are spent when a frame arrives.

A message may be *under way*: its copy, or its ACK, is still to come. More messages may follow it,
but what is answered in another way is parked until nothing is under way, so that answers keep
their order. The caller says `sent` for each such message, and `arrived` when it has been answered.
"""

from __future__ import annotations

import collections
import enum
from collections.abc import Iterator
from typing import Protocol

from twisted_relay.core import wire
from twisted_relay.core.errors import Close, Code, RelayError
from twisted_relay.core.limits import Bucket


class Limits(Protocol):
    """The limits of one connection; `settings.SessionLimits` has them."""

    @property
    def max_ws_msg_bytes(self) -> int: ...
    @property
    def max_app_ciphertext_bytes(self) -> int: ...
    @property
    def max_msgs_per_10s(self) -> int: ...
    @property
    def max_bytes_per_10s(self) -> int: ...


class State(enum.Enum):
    """Where a connection is in its life."""

    LOBBY = "in no room"
    ENTERING = "a create or join is being decided"
    IN_ROOM = "a member"
    LEAVING = "a leave is being written"
    CLOSED = "gone"


class Refusal:
    """An intent: tell the client of an error that leaves the connection open."""

    __slots__ = ("error", "kind", "re")

    def __init__(self, error: RelayError, re: str | None, kind: str | None = None) -> None:
        self.error = error
        self.re = re
        self.kind = kind


#: What a session may ask for: the frame itself, once it is known to be in place; a refusal; a
#: close. None means that there is nothing to do yet.
Intent = wire.ClientFrame | Refusal | Close

#: Which frames a state takes, and the error for those that it does not.
_REFUSED: dict[State, dict[type, Code]] = {
    State.LOBBY: {
        wire.Leave: Code.NOT_IN_ROOM,
        wire.AppMsg: Code.NOT_IN_ROOM,
        wire.MediaMsg: Code.NOT_IN_ROOM,
    },
    State.IN_ROOM: {
        wire.RoomCreate: Code.ALREADY_IN_ROOM,
        wire.JoinRequest: Code.ALREADY_IN_ROOM,
    },
}
_NEXT = {
    wire.RoomCreate: State.ENTERING,
    wire.JoinRequest: State.ENTERING,
    wire.Leave: State.LEAVING,
}


_MESSAGES = (wire.AppMsg, wire.MediaMsg)


class Session:
    """The state of one connection.

    Args:
        limits: sizes and rates in force when the connection opened.
        now: seconds, from any clock that only goes forward.
    """

    __slots__ = ("_bytes", "_limits", "_messages", "_parked", "_under_way", "room_id", "state")

    def __init__(self, limits: Limits, now: float) -> None:
        self._limits = limits
        self._messages = Bucket(limits.max_msgs_per_10s, limits.max_msgs_per_10s / 10, now)
        # A frame of the largest size must pass, however small the rate was set.
        burst = max(limits.max_bytes_per_10s, limits.max_ws_msg_bytes)
        self._bytes = Bucket(burst, limits.max_bytes_per_10s / 10, now)
        #: None while nothing is parked, as nearly always: an empty deque takes 760 bytes.
        self._parked: collections.deque[bytes] | None = None
        self._under_way = 0
        self.state = State.LOBBY
        self.room_id: str | None = None

    @property
    def waiting(self) -> bool:
        """Whether an outcome is awaited, and frames are parked until then."""
        if self.state is State.ENTERING or self.state is State.LEAVING:
            return True
        return bool(self._under_way and self._parked)

    @property
    def is_closed(self) -> bool:
        """Whether the connection is gone or going."""
        return self.state is State.CLOSED

    def received(self, payload: bytes, now: float) -> Intent | None:
        """A text message came. Returns what is to be done about it now, if anything."""
        if self.state is State.CLOSED:
            return None
        if not (self._messages.spend(1, now) and self._bytes.spend(len(payload), now)):
            return Close.RATE_LIMIT
        if self.state is State.ENTERING or self.state is State.LEAVING or self._parked:
            self._park(payload)
            return None
        intent = self._decide(payload)
        if intent is None:
            self._park(payload)
        return intent

    def admits_frame(self, now: float) -> bool:
        """A frame came that carries no message of its own; False if that is one too many."""
        return self._messages.spend(1, now)

    def resume(self) -> Iterator[Intent]:
        """What the parked frames ask for, until one of them must be waited for again."""
        while self._parked and self.state in (State.LOBBY, State.IN_ROOM):
            intent = self._decide(self._parked[0])
            if intent is None:
                return
            self._parked.popleft()
            yield intent
        if not self._parked:
            self._parked = None

    def sent(self) -> None:
        """A message of this client is under way."""
        self._under_way += 1

    def arrived(self) -> bool:
        """A message has been answered; whether there may now be something to `resume`."""
        self._under_way -= 1
        return not self._under_way and bool(self._parked)

    def joined(self, room_id: str) -> None:
        """The create or join succeeded."""
        self.state = State.IN_ROOM
        self.room_id = room_id

    def refused(self) -> None:
        """The create or join failed."""
        self.state = State.LOBBY

    def left(self) -> None:
        """The leave has been dealt with."""
        self.state = State.LOBBY
        self.room_id = None

    def closed(self) -> None:
        """The connection is gone, or is being closed: nothing more is heard of it."""
        self.state = State.CLOSED
        self._parked = None

    def _park(self, payload: bytes) -> None:
        if self._parked is None:
            self._parked = collections.deque()
        self._parked.append(payload)

    def _decide(self, payload: bytes) -> Intent | None:
        """What a frame asks for; None if that must wait, and then nothing has changed."""
        try:
            frame = wire.decode(payload, self._limits.max_app_ciphertext_bytes)
        except wire.NotAFrame:
            return Close.INVALID_MESSAGE
        except wire.InvalidFrame as invalid:
            if self._under_way:
                return None
            return Refusal(invalid.error, invalid.re, invalid.kind)
        if isinstance(frame, wire.AppMsg) and frame.body.roomId == self.room_id:
            # Nearly every frame is one, and the table would say the same of it. Nobody who is not
            # in a room has its id here.
            return frame
        kind = type(frame)
        code = _REFUSED[self.state].get(kind)
        if code is None and self.state is State.IN_ROOM:
            body = frame.body
            if not isinstance(body, wire.EmptyBody) and getattr(body, "roomId", "") != self.room_id:
                code = Code.NOT_IN_ROOM
        if self._under_way and (code is not None or kind not in _MESSAGES):
            return None
        if code is not None:
            return Refusal(RelayError(code), frame.id, str(kind.__struct_config__.tag))
        self.state = _NEXT.get(kind, self.state)
        return frame
