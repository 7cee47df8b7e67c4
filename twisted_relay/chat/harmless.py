"""What a terminal must be protected from: text of others, made harmless."""

import unicodedata
from collections.abc import Iterable, Iterator

PIECE = 4000  # characters of one message; a longer line becomes several
_LONGEST_NAME = 64
_JOINERS = "\u200c\u200d"  # words of some languages and many emoji need them
_ESCAPED = ("Cc", "Cf", "Cs", "Zl", "Zp")


def harmless(text: str, keep: str = "") -> str:
    """``text`` as one line that cannot command a terminal nor pretend to be another line.

    Control, format (among them those that reverse the direction of writing), surrogate and
    line-separating characters are shown as escapes, but for those in ``keep``.
    """
    return "".join(
        char if char in _JOINERS or char in keep or unicodedata.category(char) not in _ESCAPED
        else char.encode("unicode_escape", "surrogatepass").decode("ascii")
        for char in text
    )  # fmt: skip


def name_of(sender: str) -> str:
    """A sender's name for display: harmless and not endless."""
    return harmless(sender[:_LONGEST_NAME]) or "?"


def named_lines(sender: str, text: str) -> str:
    """A message for programs: each of its lines as ``name: line``."""
    return "\n".join(f"{name_of(sender)}: {line}" for line in _lines(text))


def paragraph(sender: str, text: str) -> str:
    """A message for people: its further lines are marked, so that none passes for a message."""
    return f"{name_of(sender)}: " + "\n  | ".join(_lines(text))


def _lines(text: str) -> list[str]:
    lines = text.replace("\r\n", "\n").split("\n")
    return [harmless(line, keep=_TAB) for line in lines]


_TAB = "\t"


def pieces(line: str) -> list[str]:
    """A line cut into messages."""
    return [line[at : at + PIECE] for at in range(0, len(line), PIECE)]


def batches(lines: Iterable[str]) -> Iterator[str]:
    """Lines that came together, put together into messages: a relay counts messages."""
    batch: list[str] = []
    size = 0
    for line in lines:
        if batch and size + len(line) > PIECE:
            yield "\n".join(batch)
            batch, size = [], 0
        batch.append(line)
        size += len(line) + 1
    if batch:
        yield "\n".join(batch)


def columns(text: str) -> int:
    """How many columns of a terminal ``text`` takes, as far as Unicode's tables tell."""
    return sum(_columns(char) for char in text)


def _columns(char: str) -> int:
    if unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1
