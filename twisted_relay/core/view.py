"""How one instance sees a room: who else has members there, and who has been asked to answer."""

from __future__ import annotations

import collections
from collections.abc import Iterable

from twisted_relay.core.rooms import Standing

#: Ended leases that are remembered.
_MOST_ENDED = 64


class View:
    """What the channel and the store say of a room's membership.

    Args:
        lease: the name of this instance's stay: the instance's own name, a dot, and more. Leases
            that begin so are of this instance too, abandoned before their seats were given back.

    Attributes:
        standing: how the room stands by the channel, or by the store while nobody is elsewhere.
            What an instance says is accepted while its lease is in here: so all who hear the
            channel accept the same.
        unanswered: those who have still to show that they know of this stay.
        late: those who did not in time: once they do, or are gone, there was a hole.
        apart: whether this instance took itself for alone in a room that did not count it any
            more: then its members may have heard what the others did not.
    """

    def __init__(self, lease: str) -> None:
        self.lease = lease
        self._own = lease.partition(".")[0] + "."
        self.standing = Standing(0, 0, frozenset())
        #: What the store has answered since, until the channel says it too.
        self._ahead: Standing | None = None
        self._asked_at = 0
        self.unanswered: set[str] = set()
        self.late: set[str] = set()
        self.apart = False
        self._ended: collections.deque[str] = collections.deque(maxlen=_MOST_ENDED)

    @property
    def newest(self) -> Standing:
        """The latest that is known, wherever from."""
        return self._ahead or self.standing

    @property
    def leases(self) -> frozenset[str]:
        """Whoever may be there: what makes the room wider is believed at once."""
        if self._ahead is None:
            return self.standing.leases
        return self.standing.leases | self._ahead.leases

    @property
    def is_alone(self) -> bool:
        """Whether no other instance has members in the room."""
        return not self._elsewhere(self.leases)

    @property
    def is_known(self) -> bool:
        """Whether this stay is part of the room, as far as anybody has said."""
        return self.lease in self.newest.leases

    def is_own(self, lease: str) -> bool:
        """Whether a lease is of this instance."""
        return lease.startswith(self._own)

    def accepts(self, lease: str) -> bool:
        """Whether what is said under this lease is handed out."""
        return lease in self.standing.leases

    def has_ended(self, lease: str) -> bool:
        """Whether the channel said that this lease has ended; then nobody accepts it."""
        return lease in self._ended

    def begin(self, standing: Standing) -> None:
        """The store has put this stay into the room; the others are to be asked. What the channel
        has said meanwhile may be later still."""
        if self.standing.revision < standing.revision:
            self.standing = standing
        self._ahead = None
        self._asked_at = standing.revision
        self.unanswered = self._elsewhere(self.standing.leases)
        self.late = set()
        self.apart = False

    def begin_again(self, lease: str, standing: Standing) -> None:
        """The store has registered this stay anew."""
        self.lease = lease
        self.begin(standing)
        # Until the others have answered, they may not publish what they say, and nobody waits.
        self.late = set(self.unanswered)

    def learned(self, standing: Standing) -> bool:
        """The store has answered; whether that was news. What makes the room narrower waits for
        the channel."""
        if standing.revision <= self.newest.revision:
            return False
        self._look_apart(standing)
        if self.is_alone and not self._elsewhere(standing.leases):
            self.standing, self._ahead = standing, None
        else:
            self._ahead = standing
        return True

    def adopt(self, standing: Standing) -> bool:
        """The channel says how the room stands. Whether somebody is gone who never answered: what
        that one's members said was not heard here."""
        same = standing.leases == self.standing.leases
        # Two that differ at one revision: the store has forgotten one of them.
        if standing.revision < self.standing.revision or (
            standing.revision == self.standing.revision and same
        ):
            return False
        self._look_apart(standing)
        before, self.standing = self.standing.leases, standing
        if self._ahead is not None and self._ahead.revision <= standing.revision:
            self._ahead = None
        leases = self.leases
        self._ended.extend(before - leases)
        self.unanswered &= leases
        lost = not self.late <= leases
        self.late &= leases
        return lost

    def answered(self, lease: str, revision: int) -> bool:
        """Somebody shows which revision it knows; whether it is one who was late."""
        if revision < self._asked_at:
            return False
        self.unanswered.discard(lease)
        was_late = lease in self.late
        self.late.discard(lease)
        return was_late

    def give_up_waiting(self) -> None:
        """Those who have not answered by now are late."""
        self.late |= self.unanswered
        self.unanswered = set()

    def _look_apart(self, standing: Standing) -> None:
        if self.is_alone and self.lease not in standing.leases:
            self.apart = True

    def _elsewhere(self, leases: Iterable[str]) -> set[str]:
        return {lease for lease in leases if not lease.startswith(self._own)}
