"""The one way to a client's connection, and the one place where a room's frames are let go.

A frame for a room is encoded once and put on the room's queue; at the end of the reactor turn the
queue is joined and the same bytes are given to every member. One message in a turn goes out in
that turn; twenty in a turn cost each member one write. Whatever goes to one client alone first
lets the room's queue go, so that a client hears everything in the order in which it was said.
"""

from __future__ import annotations

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
    """

    def __init__(
        self,
        clock: IReactorTime,
        metrics: Metrics,
        most_unsent: int | None,
        too_slow: Callable[[Client], None],
    ) -> None:
        self._clock = clock
        self._metrics = metrics
        self.most_unsent = most_unsent
        self._too_slow = too_slow

    def post(self, room: LocalRoom, kind: str, frame: bytes, skip: Seated | None = None) -> None:
        """Let every member but `skip` hear a frame, after all that was posted before it."""
        self._metrics.messages_sent[kind] += len(room.members) - (skip is not None)
        room.queue.append((frame, skip))
        if len(room.queue) == 1:
            self._clock.callLater(0, self.flush, room)

    def flush(self, room: LocalRoom) -> None:
        """Let go what the room's members are still to hear."""
        queue = room.queue
        if not queue:
            return
        room.queue = []
        members = tuple(room.members.values())
        if all(skip is None for _, skip in queue):
            data = b"".join([frame for frame, _ in queue])
            for member in members:
                self._write(member.client, data)
            return
        for member in members:
            own = b"".join([frame for frame, skip in queue if skip is not member])
            if own:
                self._write(member.client, own)

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
        if self.most_unsent is None or client.connection.unsent_bytes() <= self.most_unsent:
            return True
        # Not at once: its end is news for the room whose queue is just being let go, and the
        # others must hear that news after what is in the queue.
        client.cut_off = True
        self._clock.callLater(0, self._too_slow, client)
        return False

    def _write(self, client: Client, data: bytes) -> None:
        connection = client.connection
        if not self.keeps_up(client):
            return
        self._metrics.bytes_sent += len(data)
        connection.write(data)
