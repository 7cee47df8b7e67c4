"""After a loss that hit a whole room: whether the others are back, too."""

import attrs

PATIENCE = 5.0  # seconds: about as far apart as those come back who left together


@attrs.define
class Gathering:
    """Who comes back first would talk to an empty room: nothing is kept for those who follow.

    So what waits to be said waits until as many are there as before the loss, or a little while.
    """

    _there: int = attrs.field(default=0, init=False)
    _awaited: int = attrs.field(default=0, init=False)

    def lost(self) -> None:
        """The connection is gone; as many as were there will be waited for."""
        self._awaited = self._there

    def patience(self, participants: int) -> float:
        """In the room, with so many in it: for how many seconds to say nothing."""
        self._there = participants
        return PATIENCE if participants < self._awaited else 0.0

    def complete(self, participants: int) -> bool:
        """So many are there now; whether these were waited for, and no more are."""
        self._there = participants
        complete = 0 < self._awaited <= participants
        if complete:
            self._awaited = 0
        return complete
