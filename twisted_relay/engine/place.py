"""One room's place on this instance: its span, and those who are on their way into it."""

from __future__ import annotations

from collections.abc import Callable

import attrs
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from twisted_relay.core.bus import Envelope, Message, Occupant, Shown
from twisted_relay.core.errors import Close, Code
from twisted_relay.core.port import Said
from twisted_relay.core.rooms import Rooms, Standing
from twisted_relay.core.span import Span
from twisted_relay.engine.client import Client, LocalRoom, Seated
from twisted_relay.engine.condition import Condition
from twisted_relay.engine.fanout import Fanout
from twisted_relay.engine.interfaces import Entry, IBus, StoreUnavailable
from twisted_relay.engine.metrics import Metrics
from twisted_relay.engine.notices import Notices
from twisted_relay.engine.seal import Seal
from twisted_relay.engine.throttle import Throttle

#: Seconds for which members wait for the other instances' answers before they come in.
ANSWER_SECONDS = 2.0
#: A room is told GAP at most once in this many seconds, and once more after the last cause.
_GAP_SECONDS = 1.0
#: Seconds for which one may be on the way from one instance to another.
_MOMENT = 1.0


@attrs.frozen
class Surroundings:
    """What all places share.

    Attributes:
        settled: called with what a member said, and whether it was handed to the room.
        shows: called with a room and the QR token that it shows from now on.
        put_out: called with a member whose seat is lost, and why.
        doubted: called with a place that is to be registered anew.
    """

    clock: IReactorTime
    rooms: Rooms[Client]
    fanout: Fanout
    notices: Notices
    metrics: Metrics
    bus: IBus | None
    seal: Seal
    settled: Callable[[Said, bool], None]
    shows: Callable[[LocalRoom, Shown], None]
    put_out: Callable[[Seated, Close], None]
    doubted: Callable[[Place], None]


class Arrival:
    """Somebody to whom the store gave a seat, and who waits to come in.

    Attributes:
        entry: the seat.
        lease: the stay under which the store has it by now.
        since: the revision with which it was given.
        refused: why the store has it no more, if so.
    """

    __slots__ = ("entry", "lease", "refused", "since")

    def __init__(self, entry: Entry, since: int) -> None:
        self.entry = entry
        self.lease = entry.lease
        self.since = since
        self.refused: Code | None = None


class Place:
    """The `twisted_relay.core.port.Port` of one room.

    Attributes:
        users: coroutines that need this place, though the room may have no member here.
        arrivals: those who wait to come in.
        subscribed: whether the room's channel is heard.
        shaken: whether something may have been missed since the store last confirmed the room.
        recovering, again: whether the room is being registered; whether that must be repeated.
        next_lease: the lease under which it is being registered.
        differed_at: the revision at which the store held another number of seats than are here.
        spent: tokens spent here, each with its expiry, for a store that has lost them.
        number: the highest number given to a label here.
    """

    def __init__(self, room_id: str, lease: str, around: Surroundings) -> None:
        self.room_id = room_id
        self._around = around
        self.users = 0
        self.arrivals: set[Arrival] = set()
        self.subscribed = False
        self.shaken = False
        #: The revision at which this instance was alone when it was shaken; None if it was not.
        self._certain: int | None = None
        self.recovering = False
        self.again = False
        self.next_lease = ""
        self.differed_at: int | None = None
        self.spent: dict[str, int] = {}
        self.number = 0
        self._until_established = Condition()
        self._until_caught_up = Condition()
        self._until_settled = Condition()
        self._is_forgotten = False
        self._settling: IDelayedCall | None = None
        self._answers_due: IDelayedCall | None = None
        self._tell_gap = Throttle(around.clock, _GAP_SECONDS, self._tell_gap_now)
        self._missing: IDelayedCall | None = None
        self._flushing = False
        self._is_spanning = False
        self.span = Span(self, lease, around.bus is not None and around.bus.up)

    @property
    def room(self) -> LocalRoom | None:
        """The members here, if there are any."""
        return self._around.rooms.get(self.room_id)

    @property
    def members(self) -> tuple[Seated, ...]:
        """The members here."""
        room = self.room
        return tuple(room.members.values()) if room is not None else ()

    def shake(self) -> None:
        """From now on something may be missed, until the store confirms the room."""
        if not self.shaken:
            self.shaken = True
            # While others may be about to register, none of them may know of this instance.
            self._certain = self._alone_at() if self._missing is None else None

    def is_as_before(self, standing: Standing) -> bool:
        """Whether nobody can have been elsewhere since this was last certain, and all who are
        here are in their seats."""
        certain = self._certain if self.shaken else self._alone_at()
        seats = len(self.members) + len(self.arrivals)
        return standing.revision == certain and standing.held in (None, seats)

    def _alone_at(self) -> int | None:
        view = self.span.view
        return view.newest.revision if view.is_alone else None

    async def established(self) -> None:
        """Wait until members may come in. Raises StoreUnavailable if that cannot be for now."""
        while self.recovering or not self.span.is_established:
            await self._until_established.wait()

    async def caught_up(self) -> None:
        """Wait until all that has been said here by now has come back."""
        mark = self.span.outgoing.mark
        while not (self._is_forgotten or self.span.outgoing.has_come_back(mark)):
            await self._until_caught_up.wait()

    def settles_in(self, seconds: float) -> None:
        """A registration was vain, and may still be written within this time."""
        if self._settling is not None:
            self._settling.cancel()
        self._settling = self._around.clock.callLater(seconds, self._settles)

    async def settled(self) -> None:
        """Wait until no vain registration can be written any more. Raises StoreUnavailable at the
        end of the place."""
        while self._settling is not None:
            await self._until_settled.wait()

    def fail(self) -> None:
        """Let whoever waits to come in wait no more."""
        self._until_established.fail_all(StoreUnavailable)

    def miss_for(self, seconds: float) -> None:
        """Those who have not been seen again after this time are gone."""
        if self._missing is None:
            self._missing = self._around.clock.callLater(seconds, self._miss_no_more)
        elif self._missing.getTime() < self._around.clock.seconds() + seconds:
            self._missing.reset(seconds)

    def forget(self) -> None:
        """The room has nobody here any more."""
        self.span.flush()
        self._tell_gap.stop()
        for call in (self._answers_due, self._missing, self._settling):
            if call is not None:
                call.cancel()
        self._answers_due = self._missing = self._settling = None
        # A turn that was asked for may still end, and must not count the room again.
        self._is_forgotten = True
        self._count_spanning(False)
        self._until_caught_up.notify_all()
        self.fail()
        self._until_settled.fail_all(StoreUnavailable)

    # The span's port.

    def occupants(self) -> tuple[Occupant, ...]:
        return tuple(Occupant(member.id, member.label, member.since) for member in self.members)

    def publish(self, envelope: Envelope) -> bool:
        bus = self._around.bus
        if bus is None or not self.subscribed:
            return False
        sent = bus.publish(self.room_id, self._around.seal.close(self.room_id, envelope))
        self._around.metrics.bus_messages_published += sent
        return sent

    def wake(self) -> None:
        if not self._flushing:
            self._flushing = True
            self._around.clock.callLater(0, self._flush)

    def hand_out(self, message: Message) -> None:
        room = self.room
        if room is not None:
            skip = room.members.get(message.skip) if message.skip else None
            self._around.fanout.post(room, message.kind, message.frame, skip)

    def settle(self, said: Said, handed: bool) -> None:
        self._around.settled(said, handed)

    def show(self, shown: Shown) -> None:
        room = self.room
        if room is not None and room.qr_id != shown.id and room.qr_expires_ms <= shown.expires_ms:
            self._around.shows(room, shown)

    def entered(self, label: str) -> None:
        room = self.room
        if room is not None:
            self._around.notices.has_entered(room, label)

    def left(self, label: str) -> None:
        room = self.room
        if room is not None:
            self._around.notices.has_left(room, label)

    def missing(self) -> None:
        self.miss_for(_MOMENT)

    def count(self, participants: int, anyway: bool) -> None:
        room = self.room
        if room is not None and (anyway or room.participants != participants):
            room.participants = participants
            self._around.notices.stats(room)

    def replaced(self, occupant: Occupant) -> None:
        room = self.room
        member = room.members.get(occupant.member_id) if room is not None else None
        if member is not None and member.since < occupant.since:
            self._around.put_out(member, Close.REPLACED)

    def gap(self) -> None:
        if self.room is not None:
            self._tell_gap()

    def doubt(self) -> None:
        self._around.doubted(self)

    def changed(self) -> None:
        span = self.span
        if self._is_forgotten:
            return
        self._count_spanning(not span.view.is_alone)
        self._until_caught_up.notify_all()
        if span.is_established:
            if self._answers_due is not None:
                self._answers_due.cancel()
                self._answers_due = None
            if not self.recovering:
                self._until_established.notify_all()
        elif self._answers_due is None and span.view.unanswered:
            self._answers_due = self._around.clock.callLater(ANSWER_SECONDS, self._no_answer)

    def _flush(self) -> None:
        self._flushing = False
        self.span.flush()

    def _miss_no_more(self) -> None:
        self._missing = None
        self.span.give_up_missed()

    def _settles(self) -> None:
        self._settling = None
        self._until_settled.notify_all()

    def _no_answer(self) -> None:
        self._answers_due = None
        self.span.give_up_waiting()

    def _tell_gap_now(self) -> None:
        room = self.room
        if room is not None:
            self._around.notices.gap(room)

    def _count_spanning(self, is_spanning: bool) -> None:
        self._around.metrics.rooms_spanning += is_spanning - self._is_spanning
        self._is_spanning = is_spanning
