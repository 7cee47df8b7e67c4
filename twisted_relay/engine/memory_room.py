"""One room of the embedded store: who holds which seat, under which lease, and until when.

Time is handed in, in seconds; nothing here expires by itself.
"""

from __future__ import annotations

import attrs

from twisted_relay.engine.interfaces import Entry, QrToken, Registration, Standing

#: Generations remembered for members who are away, for each room; the oldest go first.
_MOST_GENERATIONS = 4096


@attrs.frozen
class _Held:
    """A seat that is taken: by which hold, under which lease."""

    hold: str
    lease: str


@attrs.define
class _Stay:
    """A lease: when it lapses, and whose seats are held under it; never nobody's."""

    lapses: float
    members: set[str] = attrs.Factory(set)


class Room:
    """A room's members, and what outlives them in it.

    Attributes:
        seats: who holds the seat of each member that is there.
        revision: counts the changes of `seats`.
        number: the last number given for an automatic label.
        qr: the QR token shown; None once it was spent.
        expires: when the room is gone, seconds.
    """

    __slots__ = (
        "_generations",
        "_label_numbers",
        "_stays",
        "expires",
        "number",
        "qr",
        "revision",
        "seats",
    )

    def __init__(self) -> None:
        self.seats: dict[str, _Held] = {}
        self.revision = 0
        self.number = 0
        self.qr: QrToken | None = None
        self.expires = 0.0
        self._stays: dict[str, _Stay] = {}
        #: The n of each member whose label is ``P<n>``.
        self._label_numbers: dict[str, int] = {}
        #: The highest generation used by each member, the latest comer last.
        self._generations: dict[str, int] = {}

    def standing(self, reaped: bool = False) -> Standing:
        return Standing(self.revision, len(self.seats), frozenset(self._stays), reaped)

    def generation(self, member_id: str) -> int:
        """The highest generation that this member is known to have used."""
        return self._generations.get(member_id, 0)

    def seat(self, entry: Entry, lapses: float) -> tuple[bool, str | None]:
        """Give a seat, whoever has it. Whether its lease is new here, and the other lease under
        which the seat was held until now."""
        first = entry.lease not in self._stays
        before = self._vacate(entry.member_id)
        if entry.generation is None:
            self.number += 1
            while self.number in self._label_numbers.values():
                self.number += 1
        self._place(entry, entry.lease, lapses)
        self.revision += 1
        taken_from = None if before is None or before.lease == entry.lease else before.lease
        return first, taken_from

    def leave(self, member_id: str, hold: str) -> bool:
        """Take a seat back; False, and nothing changed, if it is not held so."""
        held = self.seats.get(member_id)
        if held is None or held.hold != hold:
            return False
        self._vacate(member_id)
        self.revision += 1
        return True

    def renew(self, lease: str, lapses: float) -> bool:
        """Let a lease live on; False if it is not there."""
        stay = self._stays.get(lease)
        if stay is None:
            return False
        stay.lapses = lapses
        return True

    def held_under(self, lease: str) -> int:
        """How many seats are held under a lease."""
        stay = self._stays.get(lease)
        return 0 if stay is None else len(stay.members)

    def reap(self, now: float) -> float | None:
        """Drop lapsed leases with their seats; when the last of them lapsed, None if none has.
        What generations their members used stays known."""
        lapsed = [stay for stay in self._stays.values() if stay.lapses <= now]
        if not lapsed:
            return None
        for stay in lapsed:
            for member_id in tuple(stay.members):
                self._vacate(member_id)
        self.revision += 1
        return max(stay.lapses for stay in lapsed)

    def register(
        self, registration: Registration, capacity: int, lapses: float
    ) -> tuple[frozenset[str], frozenset[str]]:
        """Who of the members registered was replaced, and who was crowded out."""
        before = dict(self.seats)
        self._vacate_missing(registration)
        replaced, crowded_out = set(), set()
        for entry in registration.members:
            held = self.seats.get(entry.member_id)
            if held is not None:
                is_replaced = held.hold != entry.hold
            else:
                is_replaced = self.generation(entry.member_id) > (entry.generation or 0)
            if is_replaced:
                replaced.add(entry.member_id)
            elif held is None and len(self.seats) >= capacity:
                crowded_out.add(entry.member_id)
            else:
                self._vacate(entry.member_id)
                self._place(entry, registration.lease, lapses)
        # A revision behind one that was heard of is that of a store that has lost something.
        if self.seats != before or self.revision < registration.revision:
            self.revision = max(self.revision, registration.revision) + 1
        self.number = max(self.number, registration.number)
        return frozenset(replaced), frozenset(crowded_out)

    def _vacate_missing(self, registration: Registration) -> None:
        """What is held under the leases of the instance by nobody it knows is held by nobody."""
        here = {entry.member_id: entry.hold for entry in registration.members}
        for lease in (registration.former, registration.lease):
            stay = self._stays.get(lease)
            for member_id in () if stay is None else tuple(stay.members):
                if here.get(member_id) != self.seats[member_id].hold:
                    self._vacate(member_id)

    def _place(self, entry: Entry, lease: str, lapses: float) -> None:
        member_id = entry.member_id
        self.seats[member_id] = _Held(entry.hold, lease)
        stay = self._stays.setdefault(lease, _Stay(lapses))
        stay.lapses = lapses
        stay.members.add(member_id)
        if entry.label_number:
            self._label_numbers[member_id] = entry.label_number
        known = self._generations.pop(member_id, 0)
        self._generations[member_id] = max(known, entry.generation or 0)
        if len(self._generations) > _MOST_GENERATIONS:
            away = next((m for m in self._generations if m not in self.seats), None)
            self._generations.pop(away or "", None)

    def _vacate(self, member_id: str) -> _Held | None:
        held = self.seats.pop(member_id, None)
        if held is not None:
            self._label_numbers.pop(member_id, None)
            members = self._stays[held.lease].members
            members.discard(member_id)
            if not members:
                del self._stays[held.lease]
        return held
