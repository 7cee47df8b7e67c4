"""What a span asks of the instance around it."""

from __future__ import annotations

from typing import Protocol

import attrs

from twisted_relay.core.bus import Envelope, Item, Message, Occupant, Shown


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

    def missing(self) -> None:
        """Call `Span.give_up_missed` in a moment: the members of an ended lease may be on their
        way into another instance."""

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
