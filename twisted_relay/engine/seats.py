"""The seats of this process: taken when the store has given them, given back when they are left."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from twisted_relay.core.bus import Occupant, Tell
from twisted_relay.core.errors import Close
from twisted_relay.core.rooms import Rooms, Standing
from twisted_relay.engine.client import Client, Seated
from twisted_relay.engine.departures import Departures
from twisted_relay.engine.fanout import Fanout
from twisted_relay.engine.interfaces import Entry, Seat, StoreUnavailable
from twisted_relay.engine.metrics import Metrics
from twisted_relay.engine.place import Place
from twisted_relay.engine.spans import Spans
from twisted_relay.engine.upkeep import Upkeep


class Seats:
    """Takes seats and gives them back.

    Args:
        close: ends the connection of a member whose seat is lost.
        broken: called with the failure of what nobody waits for, and what it was about.
    """

    def __init__(
        self,
        rooms: Rooms[Client],
        spans: Spans,
        fanout: Fanout,
        upkeep: Upkeep,
        departures: Departures,
        metrics: Metrics,
        close: Callable[[Client, Close], None],
        broken: Callable[[Failure, str], None],
    ) -> None:
        self._rooms = rooms
        self._spans = spans
        self._fanout = fanout
        self._upkeep = upkeep
        self._departures = departures
        self._metrics = metrics
        self._close = close
        self._broken = broken

    def put_out(self, member: Seated, why: Close) -> None:
        """The store has given this seat away, or back: there is nothing to give back."""
        room_id = member.room.id
        self._unseat(member)
        self._close(member.client, why)
        place = self._spans.of(room_id)
        if place is not None:
            self._spans.let_go(place)

    def give_back(self, place: Place, entry: Entry, for_good: bool, after: float) -> None:
        """Give back, after some seconds, a seat that may have been given and that nobody will
        take, and the token that was spent for it."""
        place.spent.pop(entry.token_id or "", None)
        self._departures.add_later(
            after,
            place.room_id,
            entry.member_id,
            entry.hold,
            for_good,
            self._counted_late,
            entry.token_id,
        )

    def enter(
        self, client: Client, place: Place, entry: Entry, seat: Seat, since: int, label: str | None
    ) -> Seated | None:
        """Take a seat that the store has given; None if the client has gone meanwhile."""
        here = place.room
        if here is not None:
            # What was said before belongs to those who were there.
            self._fanout.flush(here)
        if client.session.is_closed:
            self._hand_back(place, entry, seat, Occupant(entry.member_id, label or "", since))
            return None
        member, ghost = self._rooms.enter(
            place.room_id,
            place.span,
            entry.member_id,
            label or f"P{seat.number}",
            entry.hold,
            since,
            entry.generation or 0,
            client,
        )
        member.room.participants = place.span.view.newest.participants
        client.member = member
        client.session.joined(place.room_id)
        self._upkeep.seated(member)
        self._count_seats(+1)
        if ghost is not None:
            self.put_out(ghost, Close.REPLACED)
        return member

    def _hand_back(self, place: Place, entry: Entry, seat: Seat, occupant: Occupant) -> None:
        """The client went while its join was decided: the seat goes back, the token stays spent."""
        room = place.room
        ghost = room.members.get(entry.member_id) if room is not None else None
        if ghost is not None:
            self.put_out(ghost, Close.REPLACED)
        elif seat.taken_from is not None:
            self._spans.passed_by(place, occupant, seat.taken_from)
        Deferred.fromCoroutine(
            self._return_seat(place.room_id, entry.member_id, entry.hold, False, ghost is not None)
        ).addErrback(self._broken, "LEAVE")
        if seat.qr_spent and room is not None and room in self._rooms:
            self._upkeep.rotate_qr(room, entry.token_id or "")

    def _unseat(self, member: Seated) -> None:
        member.client.member = None
        self._rooms.remove(member)
        self._upkeep.unseated(member)
        self._count_seats(-1)

    def _count_seats(self, change: int) -> None:
        self._metrics.members_active += change
        self._metrics.rooms_active = len(self._rooms)

    async def give_up(self, member: Seated, for_good: bool) -> None:
        """Give a seat back; done once the store knows, or cannot be told for now."""
        self._fanout.flush(member.room)
        # Letting the queue go may have cut this very member off, and then it is gone already.
        if member.client.member is member:
            await self._return_seat(member.room.id, member.id, member.hold, for_good, True, member)

    async def _return_seat(
        self,
        room_id: str,
        member_id: str,
        hold: str,
        for_good: bool,
        told: bool,
        member: Seated | None = None,
    ) -> None:
        """Tell the store, then the members left; `told`: they know that it came."""
        place = self._spans.open(room_id)
        if member is not None:
            self._unseat(member)
        try:
            if place.room is None:
                # What the last member here has said is lost if the lease ends before it is heard.
                await place.caught_up()
            standing = await self._departures.add(
                room_id, member_id, hold, for_good, self._counted_late
            )
        except StoreUnavailable:
            self._spans.left_unwritten(place, told)
        else:
            if standing is not None:
                self._spans.left(place, standing, Tell.ALWAYS if told else Tell.IF_NEWS)
        finally:
            self._spans.close(place)

    def _counted_late(self, room_id: str, standing: Standing) -> None:
        place = self._spans.of(room_id)
        if place is not None:
            self._spans.left(place, standing, Tell.IF_NEWS)
