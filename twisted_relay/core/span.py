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

import collections
from collections.abc import Iterable

from twisted_relay.core.bus import Envelope, Item, Message, Occupant, Presence, Shown, Tell
from twisted_relay.core.port import Port, Said
from twisted_relay.core.rooms import Standing
from twisted_relay.core.roster import Roster
from twisted_relay.core.view import View

#: Bytes of frames after which what is said in one turn is published in more than one piece.
_MOST_AT_ONCE = 262_144


class Span:
    """One instance's part in one room.

    Args:
        port: the instance around it.
        lease: the name of this instance's stay (`View`).
        linked: whether the channel can be used.

    Attributes:
        view: who else is there.
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
        self._roster = Roster()
        self._sequence = 0
        #: The last sequence number heard under each lease.
        self._heard: dict[str, int] = {}
        self._outgoing: list[Said] = []
        self._on_the_way: collections.deque[tuple[int, list[Said]]] = collections.deque()
        self._waiting: collections.deque[Said] = collections.deque()
        self.local = False

    @property
    def lease(self) -> str:
        """The name of this instance's stay."""
        return self.view.lease

    @property
    def is_established(self) -> bool:
        """Whether all the others publish for this instance: then members may come in."""
        return not (self._held or self.view.unanswered)

    @property
    def is_in_flight(self) -> bool:
        """Whether something that was said here has still to come back."""
        return bool(self._on_the_way or self._outgoing)

    @property
    def mark(self) -> int:
        """Where the stream of what was said here is now, for `has_come_back`."""
        return self._sequence + bool(self._outgoing or self._waiting)

    def has_come_back(self, mark: int) -> bool:
        """Whether all that was said up to a mark has come back, or was given up."""
        if self._sequence < mark and (self._outgoing or self._waiting):
            return False
        return not self._on_the_way or self._on_the_way[0][0] > mark

    # What the store says.

    def begin(self, standing: Standing) -> None:
        """The store has given this lease its first member. The others, if there are any, are
        asked to publish from now on whatever they say."""
        self._held = False
        self.view.begin(standing)
        if self.view.unanswered:
            self._send(Said(self._presence(asks=True)))
        self._update()

    def begin_again(self, lease: str, standing: Standing, apart: bool) -> None:
        """The store has registered those who are here, under a new lease. `apart`: until now they
        may have heard what the others did not."""
        self._held = False
        self.view.begin_again(lease, standing)
        # If the store has lost the room, the others are about to register too.
        self._roster.miss(self.view.leases | {lease})
        presence = self._presence(asks=True, tells=Tell.IF_NEWS, apart=apart)
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
        for label in self._roster.give_up():
            self._port.left(label)

    # What members here do.

    def say(self, said: Said) -> None:
        """Pass something on to the room, after all that was passed on before."""
        waits = self._held or self._giving_up or self._waiting
        if waits or (self.view.is_alone and self.is_in_flight):
            self._waiting.append(said)
            self._update()
        elif self.view.is_alone:
            self._deliver(said)
        elif self._linked:
            self._send(said)
        else:
            self._refuse(said)

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
        said = Said(self._presence(tells=tells, quiet=tuple(quiet), also=tuple(also)))
        if anyway and self._linked and not self._held:
            self._send(said)
            self._update()
        else:
            self.say(said)

    def flush(self) -> None:
        """The turn ends: publish what was said in it."""
        while self._outgoing:
            batch, size = [], 0
            while self._outgoing and size < _MOST_AT_ONCE:
                said = self._outgoing.pop(0)
                batch.append(said)
                size += len(said.item.frame) if isinstance(said.item, Message) else 0
            self._sequence += 1
            self._on_the_way.append((self._sequence, batch))
            items = tuple(said.item for said in batch)
            if not self._port.publish(Envelope(self.lease, self._sequence, items)):
                self._give_up_on_the_way()
        self._update()

    # What the channel says.

    def heard(self, envelope: Envelope) -> None:
        """Something came on the room's channel."""
        if envelope.lease == self.lease:
            self._came_back(envelope.sequence)
        elif self._is_next(envelope):
            for item in envelope.items:
                self._take(envelope.lease, item)
        self._update()

    def _is_next(self, envelope: Envelope) -> bool:
        last = self._heard.get(envelope.lease)
        if last is not None and envelope.sequence <= last:
            return False
        if last is not None and envelope.sequence > last + 1:
            self._port.gap()
        self._heard[envelope.lease] = envelope.sequence
        return True

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
        while self._on_the_way and self._on_the_way[0][0] <= sequence:
            came_back = self._on_the_way[0][0] == sequence
            said = self._first_on_the_way()
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
        came: list[Occupant] = []
        gone: list[str] = []
        # What is still on its way from a lease that has ended says nothing of its members now.
        is_last_word = presence.revision >= self.view.standing.revision
        is_current = lease in self.view.leases or is_last_word
        if is_current or not elsewhere:
            came, gone = self._roster.seen(lease, presence.occupants)
        if self.view.is_known and self._roster.miss(self.view.leases):
            self._port.missing()
        for occupant in came:
            if occupant.member_id not in presence.quiet:
                self._port.entered(occupant.label)
        for label in gone:
            self._port.left(label)
        if elsewhere and is_current:
            for occupant in presence.occupants:
                self._port.replaced(occupant)
        if presence.tells is not Tell.NOT:
            always = presence.tells is Tell.ALWAYS
            self._port.count(self.view.standing.participants, always)
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
        for lease in self._heard.keys() - self.view.leases:
            del self._heard[lease]

    # Links, and doubts.

    def cut(self) -> None:
        """The channel was lost: what is on its way may be heard elsewhere, but never again here."""
        self._linked = False
        self._heard.clear()
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
        while self.is_in_flight:
            said = self._first_on_the_way()
            if self.view.is_alone:
                self._deliver(said)
            else:
                self._refuse(said)
        self._giving_up = was_giving_up

    def _first_on_the_way(self) -> Said:
        if not self._on_the_way:
            return self._outgoing.pop(0)
        batch = self._on_the_way[0][1]
        said = batch.pop(0)
        if not batch:
            self._on_the_way.popleft()
        return said

    def _check_own_lease(self) -> None:
        if not (self._held or self.view.is_known) and self._port.occupants():
            self._port.doubt()

    # Passing on.

    def _presence(
        self,
        *,
        asks: bool = False,
        tells: Tell = Tell.NOT,
        apart: bool = False,
        quiet: tuple[str, ...] = (),
        also: tuple[Occupant, ...] = (),
    ) -> Presence:
        known = self.view.newest
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

    def _renewed(self, said: Said) -> Said:
        """What waited, as it is now: those who were here then may be gone."""
        if not isinstance(said.item, Presence):
            return said
        return Said(self._presence(tells=said.item.tells, quiet=said.item.quiet))

    def _send(self, said: Said) -> None:
        self._outgoing.append(said)
        if len(self._outgoing) == 1:
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
        while self._waiting and not (self._held or self._giving_up):
            alone = self.view.is_alone
            if alone and self.is_in_flight:
                break
            said = self._renewed(self._waiting.popleft())
            if alone:
                self._deliver(said)
            elif self._linked:
                self._send(said)
            else:
                self._refuse(said)
        busy = self._held or self._waiting or self.is_in_flight
        self.local = not busy and self.view.is_alone
        self._port.changed()
