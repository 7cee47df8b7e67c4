"""What happens in the room, as lines for the person."""

from typing import TypeVar

import attrs

from ..client import events, happenings
from .faults import ending
from .files import Files
from .harmless import name_of
from .people import People, is_about_people
from .screen import Screen

_LONGEST_NOTICE = 500
_File = TypeVar("_File", happenings.FileOffered, happenings.FileReceived)


class Reporter:
    """Turns what a conversation tells into what is shown; it decides nothing."""

    def __init__(self, screen: Screen, people: People, files: Files, *, creates: bool) -> None:
        self._screen, self._people, self._files = screen, people, files
        self._creates = creates  # nobody announces who makes a room
        self._unreadable: set[tuple[str, str]] = set()

    def told(self, event: happenings.Happening) -> None:
        """Show one of them."""
        match event:
            case happenings.Said():
                self._said(event)
            case happenings.Unreadable():
                self._cannot_read(event)
            case happenings.FileOffered():
                self._files.offered(self._named(event))
            case happenings.FileProgress():
                self._files.progress(event)
            case happenings.FileReceived():
                self._files.received(self._named(event))
            case happenings.FileFailed():
                self._files.failed(event)
            case _:
                if isinstance(event, events.Joined):
                    self._people.name_for(event.member_id, event.label)
                self._of_the_relay(event)

    def _named(self, file: _File) -> _File:
        return attrs.evolve(file, sender=self._people.name_for(file.member_id, file.sender))

    def _said(self, said: happenings.Said) -> None:
        if said.own:
            return
        self._unreadable -= {key for key in self._unreadable if key[0] == said.member_id}
        self._people.heard(said.member_id, said.sender)
        self._screen.message(self._people.name_for(said.member_id, said.sender), said.text)

    def _cannot_read(self, message: happenings.Unreadable) -> None:
        """Say it once: somebody with another key may talk for hours."""
        key = (message.member_id, message.reason)
        if key not in self._unreadable:
            self._unreadable.add(key)
            hint = "; if it goes on, compare /words with the others" if "key" in key[1] else ""
            self._screen.warn(f"a message is not shown: {message.reason}{hint}")

    def _of_the_relay(self, event: happenings.Happening) -> None:
        match event:
            case events.Joined(resumed=True):
                self._people.arrived(event.participants, event.max, announced=None)
                self._screen.warn("back in the room")
            case events.Joined():
                own = None if self._creates else event.label
                self._people.arrived(event.participants, event.max, announced=own)
            case events.Notice():
                self._noticed(event.text)
            case events.Stats():
                self._people.counted(event.participants, event.max)
            case events.Lost():
                again = f"trying again in {event.retry_in:.1f} s"
                self._screen.warn(f"connection lost ({event.reason}); {again}")
            case events.Gap():
                self._screen.warn("some messages may be missing here")
            case events.Ended(reason=reason) if reason != "left":
                self._screen.warn(f"the conversation is over for you: {ending(reason)}")
            case _:
                pass

    def _noticed(self, text: str) -> None:
        """Words of the relay's own must not pass for ours: ``safety words: ...``, say."""
        if not is_about_people(text):
            self._screen.note(f"the relay says: {text[:_LONGEST_NOTICE]}")
        elif self._people.noticed(text):
            self._screen.note(text)

    def welcome(self, label: str) -> None:
        """Say where the person is, once that is known."""
        people = f"{self._people.count} of {self._people.most}"
        self._screen.note(
            f"you are {name_of(label)}, {people} in the room; "
            "/help shows what you can do, /quit leaves"
        )
