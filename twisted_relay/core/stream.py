"""The numbered stream of one stay in a room: what of it is on its way, and what of the others'
has been heard.

Envelopes are numbered within a lease. So it is known what has come back, what was heard before, and
where something is missing.
"""

from __future__ import annotations

import collections
from collections.abc import Iterator, Set

from twisted_relay.core.bus import Message
from twisted_relay.core.port import Said

#: Bytes of frames after which what is said in one turn is published in more than one piece.
_MOST_AT_ONCE = 262_144


class Outgoing:
    """What was said here and is not yet handed out, in its order.

    It may pass three stations: it waits until it is known how the room stands; it goes out at the
    end of the turn; it is on its way until it comes back by the channel.

    Attributes:
        waiting: what is at the first station.
        sequence: the number of the last envelope.
    """

    __slots__ = ("_due", "_on_the_way", "sequence", "waiting")

    def __init__(self) -> None:
        self.waiting: collections.deque[Said] = collections.deque()
        self.sequence = 0
        self._due: list[Said] = []
        self._on_the_way: collections.deque[tuple[int, list[Said]]] = collections.deque()

    @property
    def is_in_flight(self) -> bool:
        """Whether something has still to be published or to come back."""
        return bool(self._on_the_way or self._due)

    @property
    def mark(self) -> int:
        """Where the stream is now, for `has_come_back`."""
        return self.sequence + bool(self._due or self.waiting)

    def has_come_back(self, mark: int) -> bool:
        """Whether all that was said up to a mark has come back, or was given up."""
        if self.sequence < mark and (self._due or self.waiting):
            return False
        return not self._on_the_way or self._on_the_way[0][0] > mark

    def add(self, said: Said) -> bool:
        """Publish this at the end of the turn; whether it is the first of the turn."""
        self._due.append(said)
        return len(self._due) == 1

    def next_batch(self) -> list[Said]:
        """What goes into the envelope with the next number, which is `sequence` from now on;
        nothing if all has been published."""
        if not self._due:
            return []
        batch: list[Said] = []
        size = 0
        while self._due and size < _MOST_AT_ONCE:
            said = self._due.pop(0)
            batch.append(said)
            size += len(said.item.frame) if isinstance(said.item, Message) else 0
        self.sequence += 1
        self._on_the_way.append((self.sequence, batch))
        return batch

    def came_back(self, sequence: int) -> Iterator[tuple[Said, bool]]:
        """An envelope was heard: what is on its way no more, and whether it came back; what went
        out before it did not, and never will."""
        while self._on_the_way and self._on_the_way[0][0] <= sequence:
            in_it = self._on_the_way[0][0] == sequence
            yield self.take_first(), in_it

    def take_first(self) -> Said:
        """Take out what is in flight for the longest time."""
        if not self._on_the_way:
            return self._due.pop(0)
        batch = self._on_the_way[0][1]
        said = batch.pop(0)
        if not batch:
            self._on_the_way.popleft()
        return said


class Incoming:
    """Up to where the streams of the others have been heard."""

    __slots__ = ("_heard",)

    def __init__(self) -> None:
        self._heard: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._heard)

    def missing_before(self, lease: str, sequence: int) -> int | None:
        """An envelope came: how many before it did not; None if it is one that came before. Of a
        stream of which nothing was heard until now, nothing is missing."""
        last = self._heard.get(lease, sequence - 1)
        if sequence <= last:
            return None
        self._heard[lease] = sequence
        return sequence - last - 1

    def keep(self, leases: Set[str]) -> None:
        """Forget the streams of all others."""
        for lease in self._heard.keys() - leases:
            del self._heard[lease]

    def clear(self) -> None:
        """The channel was lost: what comes next is the first of each stream."""
        self._heard.clear()
