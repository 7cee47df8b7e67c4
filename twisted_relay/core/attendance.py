"""Who is in a room: said to the other instances, heard of them, and told to the members here."""

from __future__ import annotations

from twisted_relay.core.bus import Occupant, Presence, Tell
from twisted_relay.core.port import Port
from twisted_relay.core.roster import Roster
from twisted_relay.core.view import View


class Attendance:
    """Writes presences, and reads those of others.

    Args:
        port: the instance around it.
        view: how this instance sees the room.
    """

    def __init__(self, port: Port, view: View) -> None:
        self._port = port
        self._view = view
        self._roster = Roster()

    def presence(
        self,
        *,
        asks: bool = False,
        tells: Tell = Tell.NOT,
        apart: bool = False,
        quiet: tuple[str, ...] = (),
        also: tuple[Occupant, ...] = (),
    ) -> Presence:
        """Who is here now, and how the room stands; see `Presence`. `also`: those who are here
        for this moment only."""
        known = self._view.newest
        return Presence(
            known.revision,
            known.participants,
            tuple(known.leases),
            self._port.occupants() + also,
            quiet,
            asks,
            tells,
            apart,
        )

    def heard(self, lease: str, presence: Presence) -> None:
        """An instance, perhaps this one, says who is there with it; the view has been told how the
        room stands. Members here are told who came, who went and how many they are."""
        view, port = self._view, self._port
        elsewhere = lease != view.lease
        came: list[Occupant] = []
        gone: list[str] = []
        # What is still on its way from a lease that has ended says nothing of its members now.
        is_last_word = presence.revision >= view.standing.revision
        is_current = lease in view.leases or is_last_word
        if is_current or not elsewhere:
            came, gone = self._roster.seen(lease, presence.occupants)
        if view.is_known and self._roster.miss(view.leases):
            port.missing()
        for occupant in came:
            if occupant.member_id not in presence.quiet:
                port.entered(occupant.label)
        for label in gone:
            port.left(label)
        if elsewhere and is_current:
            for occupant in presence.occupants:
                port.replaced(occupant)
        if presence.tells is not Tell.NOT:
            port.count(view.standing.participants, presence.tells is Tell.ALWAYS)

    def miss_others(self) -> None:
        """Whoever is seen under no lease of the room is about to register too, or gone."""
        self._roster.miss(self._view.leases | {self._view.lease})

    def give_up_missed(self) -> None:
        """Whoever was missed and has not been seen since is gone."""
        for label in self._roster.give_up():
            self._port.left(label)
