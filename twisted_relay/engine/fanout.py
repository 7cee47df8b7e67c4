"""The one way to a client's connection, and the one place where a room's frames are let go.

A frame for a room is encoded once and put on the room's queue; at the end of the reactor turn the
queue is joined and the same bytes are given to every member. One message in a turn goes out in
that turn; twenty in a turn cost each member one write, and all rooms of a turn one timer. Whatever
goes to one client alone first lets the room's queue go, so that a client hears everything in the
order in which it was said.
"""

from __future__ import annotations

import collections
import functools
from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime

from twisted_relay.engine.client import Client, LocalRoom, Seated
from twisted_relay.engine.metrics import Metrics


class Fanout:
    """Sends frames to rooms and to single clients.

    Args:
        clock: an `IReactorTime`.
        metrics: counts frames and bytes sent.
        most_unsent: bytes that may wait for a client's network when more come for it; None for
            no bound.
        too_slow: called with a client for which more waits.
        soon: calls a function at the end of the reactor's turn; by default a timer of the clock.
    """

    def __init__(
        self,
        clock: IReactorTime,
        metrics: Metrics,
        most_unsent: int | None,
        too_slow: Callable[[Client], None],
        soon: Callable[[Callable[[], None]], object] | None = None,
    ) -> None:
        self._clock = clock
        self._metrics = metrics
        self.most_unsent = most_unsent
        self._too_slow = too_slow
        self._soon = soon or functools.partial(clock.callLater, 0)
        #: Rooms with something in the queue; one whose queue was let go earlier does no harm.
        self._due: collections.deque[LocalRoom] = collections.deque()

    def post(self, room: LocalRoom, kind: str, frame: bytes, skip: Seated | None = None) -> None:
        """Let every member but `skip` hear a frame, after all that was posted before it."""
        self._metrics.messages_sent[kind] += len(room.members) - (skip is not None)
        queue = room.queue
        queue.append((frame, skip))
        if len(queue) == 1:
            due = self._due
            due.append(room)
            if len(due) == 1:
                self._soon(self._end_turn)

    def flush(self, room: LocalRoom) -> None:
        """Let go what the room's members are still to hear."""
        queue = room.queue
        if not queue:
            return
        room.queue = []
        whole = queue[0][0] if len(queue) == 1 else b"".join([frame for frame, _ in queue])
        skipped = {skip for _, skip in queue if skip is not None}
        most, sent = self.most_unsent, 0
        # `_write` is written out here: ten calls for each message count.
        for member in tuple(room.members.values()):
            client = member.client
            if skipped and member in skipped:
                own = b"".join([frame for frame, skip in queue if skip is not member])
                if own:
                    self._write(client, own)
            elif client.cut_off:
                continue
            elif most is not None and client.connection.unsent_bytes() > most:
                self._cut(client)
            else:
                client.connection.write(whole)
                sent += len(whole)
        self._metrics.bytes_sent += sent

    def _end_turn(self) -> None:
        due = self._due
        try:
            while due:
                self.flush(due[0])
                due.popleft()
        finally:
            # Only a bug ends this early. It must not be all the other rooms' bug as well.
            if due:
                due.popleft()
            if due:
                self._soon(self._end_turn)

    def send(self, client: Client, kind: str, frame: bytes) -> None:
        """Let one client hear a frame, after all that its room was to hear before."""
        if client.member is not None:
            self.flush(client.member.room)
        self._metrics.messages_sent[kind] += 1
        self._write(client, frame)

    def keeps_up(self, client: Client) -> bool:
        """Whether a client may be sent more; one for which too much waits is reported, soon."""
        if client.cut_off:
            return False
        most = self.most_unsent
        if most is None or client.connection.unsent_bytes() <= most:
            return True
        self._cut(client)
        return False

    def _cut(self, client: Client) -> None:
        # Not at once: its end is news for the room whose queue is just being let go, and the
        # others must hear that news after what is in the queue.
        client.cut_off = True
        self._clock.callLater(0, self._too_slow, client)

    def _write(self, client: Client, data: bytes) -> None:
        if self.keeps_up(client):
            self._metrics.bytes_sent += len(data)
            client.connection.write(data)
