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
from typing import Protocol

import attrs

from twisted_relay.core.bus import Envelope, Item, Message, Occupant, Presence, Shown, Tell
from twisted_relay.core.rooms import Standing
from twisted_relay.core.roster import Roster

#: Bytes of frames after which what is said in one turn is published in more than one piece.
_MOST_AT_ONCE = 262_144


@attrs.frozen(eq=False)
class Said:
    """Something to be passed to the room; `speaker`, if any, is to hear what became of it."""

    item: Item
    speaker: object = None


class Port(Protocol):
    """What a span asks of the instance around it. Nothing here may wait."""

    def occupants(self) -> tuple[Occupant, ...]:
        """The members here."""

    def publish(self, envelope: Envelope) -> bool:
        """Put it on the room's channel; False if it was certainly not sent."""

    def wake(self) -> None:
        """Call `Span.flush` at the end of this turn."""

    def hand_out(self, message: Message) -> None:
        """Let the members here hear a message."""

    def settle(self, said: Said, handed: bool) -> None:
        """Tell a speaker whether its message was handed to the room; if not, it may have been
        heard elsewhere."""

    def show(self, shown: Shown) -> None:
        """Let the members here know the room's QR token."""

    def entered(self, label: str) -> None:
        """Let the members here know who came."""

    def left(self, label: str) -> None:
        """Let the members here know who went."""

    def count(self, participants: int, anyway: bool) -> None:
        """Let the members here know how many there are; not `anyway`: only if that is news."""

    def replaced(self, occupant: Occupant) -> None:
        """Somebody has this seat elsewhere; whoever has held it here for longer is out."""

    def gap(self) -> None:
        """Let the members here know that they may have missed something."""

    def doubt(self) -> None:
        """The store, or the others, do not know this instance: it must register anew."""

    def changed(self) -> None:
        """`Span.is_established` or `Span.local` may have changed."""


class Span:
    """One instance's part in one room.

    Args:
        port: the instance around it.
        lease: the name of this instance's stay: the instance's own name, a dot, and more. Leases
            that begin so are of this instance too, abandoned before their seats were given back.
        linked: whether the channel can be used.

    Attributes:
        local: whether a message may be handed out at once: nobody is elsewhere, and nothing is
            on its way. Kept up to date, for the path of a message.
    """

    def __init__(self, port: Port, lease: str, linked: bool) -> None:
        self._port = port
        self.lease = lease
        self._own = lease.partition(".")[0] + "."
        self._linked = linked
        #: Whether all waits for the store to say how the room stands.
        self._held = False
        #: How the room stands: as the channel says, or the store while nobody else is there.
        self.standing = Standing(0, 0, frozenset())
        #: What the store has answered since, until the channel says it too.
        self._ahead: Standing | None = None
        self._roster = Roster()
        self._sequence = 0
        #: The last sequence number heard under each lease.
        self._heard: dict[str, int] = {}
        self._outgoing: list[Said] = []
        self._on_the_way: collections.deque[tuple[int, list[Said]]] = collections.deque()
        self._waiting: collections.deque[Said] = collections.deque()
        #: The revision of which those in `_unanswered` must show that they know it.
        self._asked_at = 0
        self._unanswered: set[str] = set()
        #: Those who did not answer in time: once they do, or are gone, there was a hole.
        self._late: set[str] = set()
        self.local = False

    # How the room stands.

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
    def is_established(self) -> bool:
        """Whether all the others publish for this instance: then members may come in."""
        return not (self._held or self._unanswered)

    @property
    def is_asking(self) -> bool:
        """Whether others have still to answer."""
        return bool(self._unanswered)

    @property
    def has_late(self) -> bool:
        """Whether somebody came in before all the others had answered."""
        return bool(self._late)

    def is_own(self, lease: str) -> bool:
        """Whether a lease is of this instance."""
        return lease.startswith(self._own)

    def _elsewhere(self, leases: Iterable[str]) -> set[str]:
        return {lease for lease in leases if not lease.startswith(self._own)}

    def learned(self, standing: Standing) -> None:
        """The store has answered. What makes the room narrower waits for the channel."""
        if standing.revision <= self.newest.revision:
            return
        if self.is_alone and not self._elsewhere(standing.leases):
            self.standing, self._ahead = standing, None
        else:
            self._ahead = standing
        self._check_own_lease()
        self._update()

    def renewed(self, standing: Standing) -> None:
        """The store has answered a renewal. Whoever makes a change tells the others; news that
        comes this way may have got lost on the other, and is told from here."""
        is_news = standing.revision > self.newest.revision
        self.learned(standing)
        if is_news:
            self.announce(Tell.IF_NEWS)

    def begin(self, standing: Standing) -> None:
        """The store has given this lease its first member. The others, if there are any, are
        asked to publish from now on whatever they say."""
        self._start(standing)
        if self._unanswered:
            self._send(Said(self._presence(asks=True)))
        self._update()

    def begin_again(self, lease: str, standing: Standing, apart: bool) -> None:
        """The store has registered those who are here, under a new lease. `apart`: until now they
        may have heard what the others did not."""
        self.lease = lease
        self._start(standing)
        # Until the others have answered, they may not publish what they say, and nobody waits.
        self._late = set(self._unanswered)
        presence = self._presence(asks=True, tells=Tell.IF_NEWS, apart=apart)
        if self._unanswered:
            # Before whatever waits: the others accept nothing from a lease that they do not know.
            self._send(Said(presence))
        else:
            self._present(lease, presence)
        self._update()

    def _start(self, standing: Standing) -> None:
        self._held = False
        self.standing, self._ahead = standing, None
        self._asked_at = standing.revision
        self._unanswered = self._elsewhere(standing.leases)
        self._late.clear()

    def give_up_waiting(self) -> None:
        """Some do not answer. Members come in nevertheless, and know that there may be a hole."""
        self._late |= self._unanswered
        self._unanswered.clear()
        self._update()

    # What members here do.

    def say(self, said: Said) -> None:
        """Pass something on to the room, after all that was passed on before."""
        if self._held or self._waiting or (self.is_alone and self._is_in_flight):
            self._waiting.append(said)
            self._update()
        elif self.is_alone:
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
                self._on_the_way.pop()
                for said in batch:
                    self._refuse(said)
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
        elif lease in self.standing.leases:
            self._port.hand_out(item)
        else:
            # Nobody who knows better hands it out; but it may be the others who know better.
            self._port.gap()

    def _came_back(self, sequence: int) -> None:
        while self._on_the_way and self._on_the_way[0][0] <= sequence:
            number, batch = self._on_the_way.popleft()
            for said in batch:
                accepted = self.lease in self.standing.leases
                if number == sequence and (accepted or not isinstance(said.item, Message)):
                    self._deliver(said)
                else:
                    self._refuse(said)

    def _present(self, lease: str, presence: Presence) -> None:
        """An instance, perhaps this one, says how the room stands and who is there with it."""
        elsewhere = lease != self.lease
        if presence.revision > self.standing.revision:
            self._adopt(presence)
        if elsewhere and presence.revision >= self._asked_at:
            self._unanswered.discard(lease)
            if lease in self._late:
                self._late.discard(lease)
                self._port.gap()
        came, gone = self._roster.seen(lease, presence.occupants)
        gone += self._roster.keep(self.leases | {self.lease})
        for occupant in came:
            if occupant.member_id not in presence.quiet:
                self._port.entered(occupant.label)
        for label in gone:
            self._port.left(label)
        if elsewhere:
            for occupant in presence.occupants:
                self._port.replaced(occupant)
        if presence.tells is not Tell.NOT:
            self._port.count(self.standing.participants, presence.tells is Tell.ALWAYS)
        if elsewhere and presence.apart:
            self._port.gap()
        if elsewhere and presence.asks:
            self.announce(anyway=True)
        self._check_own_lease()
        self._update()

    def _adopt(self, presence: Presence) -> None:
        self.standing = Standing(
            presence.revision, presence.participants, frozenset(presence.leases)
        )
        if self._ahead is not None and self._ahead.revision <= presence.revision:
            self._ahead = None
        leases = self.leases
        self._unanswered &= leases
        if not self._late <= leases:
            # It was reaped without ever having answered: what it said meanwhile nobody heard.
            self._late &= leases
            self._port.gap()
        for lease in self._heard.keys() - leases:
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
        """Let all wait until `begin` or `release`: it is not certain how the room stands."""
        self._held = True
        self._give_up_on_the_way()
        self._update()

    def release(self) -> None:
        """All is as it was; or nobody can say, and then what can go on goes on."""
        self._held = False
        self._update()

    def _give_up_on_the_way(self) -> None:
        given_up = [said for _, batch in self._on_the_way for said in batch] + self._outgoing
        self._on_the_way.clear()
        self._outgoing = []
        for said in given_up:
            if self.is_alone:
                self._deliver(said)
            else:
                self._refuse(said)

    def _check_own_lease(self) -> None:
        if not self._held and self.lease not in self.newest.leases and self._port.occupants():
            self._port.doubt()

    # Passing on.

    @property
    def _is_in_flight(self) -> bool:
        return bool(self._on_the_way or self._outgoing)

    def _presence(
        self,
        *,
        asks: bool = False,
        tells: Tell = Tell.NOT,
        apart: bool = False,
        quiet: tuple[str, ...] = (),
        also: tuple[Occupant, ...] = (),
    ) -> Presence:
        known = self.newest
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
        while self._waiting and not self._held:
            alone = self.is_alone
            if alone and self._is_in_flight:
                break
            said = self._waiting.popleft()
            if alone:
                self._deliver(said)
            elif self._linked:
                self._send(said)
            else:
                self._refuse(said)
        self.local = not (self._held or self._waiting or self._is_in_flight) and self.is_alone
        self._port.changed()
