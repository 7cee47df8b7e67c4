"""Who is in a room, over all instances, as those instances say."""

from __future__ import annotations

from collections.abc import Iterable, Set

from twisted_relay.core.bus import Occupant

#: Members who are gone that are remembered.
_MOST_GONE = 256


class Roster:
    """The members of one room, each with the lease under which it was last seen."""

    def __init__(self) -> None:
        self._members: dict[str, tuple[str, Occupant]] = {}
        #: Those of whom it is not known whether they are still there.
        self._missed: dict[str, Occupant] = {}
        #: With which revision those who are gone had come last.
        self._gone: dict[str, int] = {}

    def seen(self, lease: str, occupants: Iterable[Occupant]) -> tuple[list[Occupant], list[str]]:
        """An instance says who is there with it.

        Returns the members who are new to the roster, and the labels of those who are no more.
        """
        came = []
        present = set()
        for occupant in occupants:
            present.add(occupant.member_id)
            known = self._members.get(occupant.member_id)
            if self._since(occupant.member_id) > occupant.since:
                # It has moved on since then; whoever has it now says so.
                continue
            if known is None and self._missed.pop(occupant.member_id, None) is None:
                came.append(occupant)
            self._members[occupant.member_id] = (lease, occupant)
        gone = [
            member_id
            for member_id, (where, _) in self._members.items()
            if where == lease and member_id not in present
        ]
        return came, self._drop(gone)

    def miss(self, leases: Set[str]) -> bool:
        """Whoever was seen under another lease is gone, or will soon be seen under a new one;
        whether there is anybody like that."""
        others = [id for id, (where, _) in self._members.items() if where not in leases]
        for member_id in others:
            self._missed[member_id] = self._members.pop(member_id)[1]
        return bool(others)

    def give_up(self) -> list[str]:
        """Whoever was missed and is not back is gone; the labels of those."""
        missed, self._missed = self._missed, {}
        for member_id, occupant in missed.items():
            self._remember(member_id, occupant)
        return [occupant.label for occupant in missed.values()]

    def _since(self, member_id: str) -> int:
        if member_id in self._members:
            return self._members[member_id][1].since
        if member_id in self._missed:
            return self._missed[member_id].since
        return self._gone.get(member_id, 0)

    def _drop(self, gone: list[str]) -> list[str]:
        labels = []
        for member_id in gone:
            occupant = self._members.pop(member_id)[1]
            labels.append(occupant.label)
            self._remember(member_id, occupant)
        return labels

    def _remember(self, member_id: str, occupant: Occupant) -> None:
        self._gone.pop(member_id, None)
        self._gone[member_id] = occupant.since
        if len(self._gone) > _MOST_GONE:
            del self._gone[next(iter(self._gone))]
