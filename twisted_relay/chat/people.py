"""Who is in the room, as far as a member can know."""

import re
from collections import Counter

from .harmless import name_of

# The relay's texts are fixed by the protocol (docs/api.md, SYSTEM_MSG).
_ENTERED = re.compile(r"this person has entered the chat with the name (.*)", re.DOTALL)
_LEFT = re.compile(r"(.*) has left the chat", re.DOTALL)


_LONGEST_MARKED = 48  # characters of a name beside its mark
_MOST_NAMES = 4096  # that are remembered
_LONGEST_NAME = 64  # characters; the relay cuts labels to 32


def is_about_people(text: str) -> bool:
    """Whether a line of the relay says that somebody came or went, as the protocol words it."""
    found = _ENTERED.fullmatch(text) or _LEFT.fullmatch(text)
    return found is not None and len(found[1]) <= _LONGEST_NAME


class People:
    """The count is the relay's and true; the names are those heard since this member is here."""

    def __init__(self) -> None:
        self._present: Counter[str] = Counter()
        self._named: dict[str, str] = {}
        self._own: str | None = None
        self._first: dict[str, str] = {}  # who had a name first, by member id
        self.count = self.most = 0

    def arrived(self, count: int, most: int, *, announced: str | None) -> None:
        """This member is in the room, or back: what was known of the others may be old.

        ``announced`` is the own name where the relay announces it next, to this member too.
        """
        self._present.clear()
        self._named.clear()
        self._own, self.count, self.most = announced, count, most

    def counted(self, count: int, most: int) -> None:
        """The relay says how many there are."""
        self.count, self.most = count, most

    def noticed(self, text: str) -> bool:
        """The relay says that somebody came or went; whether it was somebody else."""
        if entered := _ENTERED.fullmatch(text):
            if entered[1] == self._own:
                self._own = None  # a namesake who comes later is somebody else
                return False
            self._present[entered[1]] += 1
        elif left := _LEFT.fullmatch(text):
            self._absent(left[1])
            self._named = {id_: name for id_, name in self._named.items() if name != left[1]}
        return True

    def heard(self, member_id: str, name: str) -> None:
        """A member said something and gave itself this name."""
        before = self._named.get(member_id)
        if before == name:
            return
        if before is not None:
            self._absent(before)
            self._present[name] += 1
        elif self._present[name] <= list(self._named.values()).count(name):
            self._present[name] += 1
        self._named[member_id] = name

    def name_for(self, member_id: str, name: str) -> str:
        """The name, not yet made harmless: marked if another member, or this one, had it before.

        Anybody can write any name; nobody can choose a member id.
        """
        shown = name_of(name)
        if len(self._first) < _MOST_NAMES:
            self._first.setdefault(shown, member_id)
        if self._first.get(shown) == member_id:
            return name
        return f"{name[:_LONGEST_MARKED]} ({member_id[:4]})"

    def _absent(self, name: str) -> None:
        if self._present[name]:
            self._present[name] -= 1

    def names(self) -> list[str]:
        """The others' names, sorted, each as often as there are people of that name."""
        return sorted((+self._present).elements())

    def __str__(self) -> str:
        names = self.names()
        unknown = max(self.count - 1 - len(names), 0)
        parts = ["you", *names]
        if unknown:
            parts.append(f"{unknown} whose name was not heard yet")
        return f"{self.count} of {self.most} in the room: {', '.join(parts)}"
