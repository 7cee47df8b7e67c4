"""One room as one instance takes part in it: alone, or as one of several instances.

Facts go in (what members here say, what the store answered, what was heard on the room's channel,
which links were lost); what is to be done comes out through a `Port`. No I/O, no clock.

The scheme in short; ``docs/architecture.md`` argues it. The store counts a *revision* up with each
change of a room's membership, and says under which *leases* there are members. An instance that
knows of no lease but its own is *alone* and hands messages out at once. Any other publishes all
that its members say, and hands it out when it is heard on the channel, which gives all instances
one order. A lease is *accepted*, for what its instance says, from where the channel says so until
where the channel says otherwise; so everybody drops a reaped instance's words at the same place.
"""

from __future__ import annotations

from collections.abc import Iterable

from twisted_relay.core.attendance import Attendance
from twisted_relay.core.bus import Envelope, Item, Message, Occupant, Presence, Shown, Tell
from twisted_relay.core.port import Port, Said
from twisted_relay.core.rooms import Standing
from twisted_relay.core.stream import Incoming, Outgoing
from twisted_relay.core.view import View


class Span:
    """One instance's part in one room.

    Args:
        port: the instance around it.
        lease: the name of this instance's stay (`View`).
        linked: whether the channel can be used.

    Attributes:
        view: who else is there.
        outgoing: what was said here and is not yet handed out.
        local: whether a message may be handed out at once: nobody is elsewhere, and nothing is
            on its way. Kept up to date, for the path of a message.
    """

    def __init__(self, port: Port, lease: str, linked: bool) -> None:
        self._port = port
        self.view = View(lease)
        self._linked = linked
        #: Whether all waits for the store to say how the room stands.
        self._held = False
        #: Whether what is on the way is just being given up.
        self._giving_up = False
        self._attendance = Attendance(port, self.view)
        self.outgoing = Outgoing()
        self._incoming = Incoming()
        self.local = False

    @property
    def lease(self) -> str:
        """The name of this instance's stay."""
        return self.view.lease

    @property
    def is_established(self) -> bool:
        """Whether all the others publish for this instance: then members may come in."""
        return not (self._held or self.view.unanswered)

    # What the store says.

    def begin(self, standing: Standing) -> None:
        """The store has given this lease its first member. The others, if there are any, are
        asked to publish from now on whatever they say."""
        self._held = False
        self.view.begin(standing)
        if self.view.unanswered:
            self._send(Said(self._attendance.presence(asks=True)))
        self._update()

    def begin_again(self, lease: str, standing: Standing, apart: bool) -> None:
        """The store has registered those who are here, under a new lease. `apart`: until now they
        may have heard what the others did not."""
        self._held = False
        self.view.begin_again(lease, standing)
        # If the store has lost the room, the others are about to register too.
        self._attendance.miss_others()
        presence = self._attendance.presence(asks=True, tells=Tell.IF_NEWS, apart=apart)
        if self._linked:
            # Before whatever waits: the others accept nothing from a lease that they do not know.
            # Even if nobody is elsewhere: somebody may be who does not know yet that the store
            # has lost it.
            self._send(Said(presence))
        else:
            self._present(lease, presence)
        self._check_own_lease()
        self._update()

    def learned(self, standing: Standing) -> bool:
        """The store has answered; whether that was news."""
        is_news = self.view.learned(standing)
        if is_news:
            self._check_own_lease()
            self._update()
        return is_news

    def renewed(self, standing: Standing) -> None:
        """The store has answered a renewal. Whoever makes a change tells the others; news that
        comes this way may have got lost on the other, and is told from here."""
        if self.learned(standing):
            self.announce(Tell.IF_NEWS)
        elif standing.revision == self.view.standing.revision:
            self._port.count(standing.participants, anyway=False)

    def give_up_waiting(self) -> None:
        """Some do not answer. Members come in nevertheless, and know that there may be a hole."""
        self.view.give_up_waiting()
        self._update()

    def give_up_missed(self) -> None:
        """Those who have not come back since this room was registered anew are gone."""
        self._attendance.give_up_missed()

    # What members here do.

    def say(self, said: Said) -> None:
        """Pass something on to the room, after all that was passed on before."""
        waits = self._held or self._giving_up or self.outgoing.waiting
        if waits or (self.outgoing.is_in_flight and self.view.is_alone):
            self.outgoing.waiting.append(said)
            self._update()
        else:
            self._pass_on(said)

    def announce(
        self,
        tells: Tell = Tell.NOT,
        *,
        quiet: Iterable[str] = (),
        also: Iterable[Occupant] = (),
        anyway: bool = False,
    ) -> None:
        """Say who is here, and how the room stands.

        Args:
            tells: whether members everywhere are told the count.
            quiet: those who came back.
            also: those who are here for this moment only.
            anyway: publish it even if nobody should be elsewhere.
        """
        said = Said(self._attendance.presence(tells=tells, quiet=tuple(quiet), also=tuple(also)))
        if anyway and self._linked and not self._held:
            self._send(said)
            self._update()
        else:
            self.say(said)

    def flush(self) -> None:
        """The turn ends: publish what was said in it."""
        while batch := self.outgoing.next_batch():
            items = tuple(said.item for said in batch)
            if not self._port.publish(Envelope(self.lease, self.outgoing.sequence, items)):
                self._give_up_on_the_way()
        self._update()

    # What the channel says.

    def heard(self, envelope: Envelope) -> None:
        """Something came on the room's channel."""
        if envelope.lease == self.lease:
            self._came_back(envelope.sequence)
        else:
            missing = self._incoming.missing_before(envelope.lease, envelope.sequence)
            if missing:
                self._port.gap()
            if missing is not None:
                for item in envelope.items:
                    self._take(envelope.lease, item)
        self._update()

    def _take(self, lease: str, item: Item) -> None:
        if isinstance(item, Presence):
            self._present(lease, item)
        elif isinstance(item, Shown):
            self._port.show(item)
        elif self.view.accepts(lease):
            self._port.hand_out(item)
        elif not self.view.has_ended(lease):
            # Perhaps the others know this lease, and hand it out.
            self._port.gap()

    def _came_back(self, sequence: int) -> None:
        for said, came_back in self.outgoing.came_back(sequence):
            accepted = self.view.accepts(self.lease)
            if came_back and (accepted or not isinstance(said.item, Message)):
                self._deliver(said)
            else:
                self._refuse(said)

    def _present(self, lease: str, presence: Presence) -> None:
        """An instance, perhaps this one, says how the room stands and who is there with it."""
        elsewhere = lease != self.lease
        self._adopt(presence)
        if elsewhere and self.view.answered(lease, presence.revision):
            self._port.gap()
        self._attendance.heard(lease, presence)
        if elsewhere and presence.apart:
            self._port.gap()
        if elsewhere and presence.asks:
            self.announce(anyway=True)
        self._check_own_lease()
        self._update()

    def _adopt(self, presence: Presence) -> None:
        leases = frozenset(presence.leases)
        if self.view.adopt(Standing(presence.revision, presence.participants, leases)):
            self._port.gap()
        self._incoming.keep(self.view.leases)

    # Links, and doubts.

    def cut(self) -> None:
        """The channel was lost: what is on its way may be heard elsewhere, but never again here."""
        self._linked = False
        self._incoming.clear()
        self._give_up_on_the_way()
        self._update()

    def link(self) -> None:
        """The channel can be used again."""
        self._linked = True

    def hold(self) -> None:
        """Let all wait until `begin_again` or `release`: it is not certain how the room stands."""
        self._held = True
        self._give_up_on_the_way()
        self._update()

    def release(self) -> None:
        """All is as it was; or nobody can say, and then what can go on goes on."""
        self._held = False
        self._update()

    def _give_up_on_the_way(self) -> None:
        # What comes of one may end in here again: the next one is next all the same, and what
        # waits has its turn after all of them.
        was_giving_up, self._giving_up = self._giving_up, True
        while self.outgoing.is_in_flight:
            said = self.outgoing.take_first()
            if self.view.is_alone:
                self._deliver(said)
            else:
                self._refuse(said)
        self._giving_up = was_giving_up

    def _check_own_lease(self) -> None:
        if not (self._held or self.view.is_known) and self._port.occupants():
            self._port.doubt()

    # Passing on.

    def _pass_on(self, said: Said) -> None:
        if self.view.is_alone:
            self._deliver(said)
        elif self._linked:
            self._send(said)
        else:
            self._refuse(said)

    def _renewed(self, said: Said) -> Said:
        """What waited, as it is now: those who were here then may be gone."""
        if isinstance(said.item, Presence):
            return Said(self._attendance.presence(tells=said.item.tells, quiet=said.item.quiet))
        return said

    def _send(self, said: Said) -> None:
        if self.outgoing.add(said):
            self._port.wake()
        self.local = False

    def _deliver(self, said: Said) -> None:
        item = said.item
        if isinstance(item, Message):
            self._port.hand_out(item)
            self._port.settle(said, True)
        elif isinstance(item, Presence):
            self._present(self.lease, item)
        else:
            self._port.show(item)

    def _refuse(self, said: Said) -> None:
        if isinstance(said.item, Message):
            self._port.settle(said, False)
        else:
            # Those here are told of it in any case.
            self._deliver(said)

    def _update(self) -> None:
        outgoing = self.outgoing
        while outgoing.waiting and not (self._held or self._giving_up):
            if outgoing.is_in_flight and self.view.is_alone:
                break
            self._pass_on(self._renewed(outgoing.waiting.popleft()))
        busy = self._held or outgoing.waiting or outgoing.is_in_flight
        self.local = not busy and self.view.is_alone
        self._port.changed()
