"""The line that a person is typing: keys go in, whole lines and what to show come out. Pure."""

import codecs
import re
from collections.abc import Iterator

import attrs

from .harmless import columns

_LONGEST = 65536  # characters of one line
_REMEMBERED = 200  # lines of the history
# What the keys send: a whole control sequence (CSI or SS3), an Alt-ed key, or the start of one.
_SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|O[@-~]|[^\[O])")
_UNFINISHED = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|O)?\Z")
_KEYS = {
    "\x1b[D": "\x02", "\x1b[C": "\x06", "\x1b[A": "\x10", "\x1b[B": "\x0e",
    "\x1bOD": "\x02", "\x1bOC": "\x06", "\x1bOA": "\x10", "\x1bOB": "\x0e",
    "\x1b[H": "\x01", "\x1b[F": "\x05", "\x1bOH": "\x01", "\x1bOF": "\x05",
    "\x1b[1~": "\x01", "\x1b[4~": "\x05", "\x1b\x7f": "\x17",
}  # fmt: skip


@attrs.define
class EditLine:
    """One line with a cursor and the lines before it; the keys are those of Emacs and readline."""

    text: str = ""
    at: int = 0
    _history: list[str] = attrs.field(factory=list, init=False)
    _past: int = attrs.field(default=0, init=False)  # how far back in the history
    _unread: str = attrs.field(default="", init=False)
    _decoder: codecs.IncrementalDecoder = attrs.field(
        factory=lambda: codecs.getincrementaldecoder("utf-8")("replace"), init=False
    )

    def feed(self, typed: bytes) -> Iterator[str | None]:
        """Each line that is finished by ``typed``; None for Ctrl-D in an empty line."""
        rest = self._unread + self._decoder.decode(typed)
        self._unread = ""
        while rest:
            if _UNFINISHED.match(rest):
                self._unread = rest[-16:]
                return
            sequence = _SEQUENCE.match(rest)
            key = sequence[0] if sequence else rest[0]
            rest = rest[len(key) :]
            key = _KEYS.get(key, key)
            if key in "\r\n":
                yield self._finish()
            elif key == "\x04" and not self.text:
                yield None
            else:
                self._press(key)

    def row(self, prompt: str, width: int) -> tuple[str, int]:
        """What fits a row of ``width`` columns, and how far from its end the cursor stands.

        The last column stays free: a terminal would go to the next row.
        """
        room = max(width - columns(prompt) - 1, 1)
        start = self.at
        while start and columns(self.text[start - 1 : self.at]) <= room:
            start -= 1
        end = self.at
        while end < len(self.text) and columns(self.text[start : end + 1]) <= room:
            end += 1
        return prompt + self.text[start:end], columns(self.text[self.at : end])

    def _finish(self) -> str:
        line, self.text, self.at, self._past = self.text, "", 0, 0
        if line and self._history[-1:] != [line]:
            self._history = [*self._history[1 - _REMEMBERED :], line]
        return line

    def _press(self, key: str) -> None:
        if key in _ACTIONS:
            _ACTIONS[key](self)
        elif len(self.text) < _LONGEST and (key.isprintable() or key in "\u200c\u200d"):
            self._replace(self.at, self.at, key)

    def _replace(self, start: int, end: int, text: str = "") -> None:
        self.text = self.text[:start] + text + self.text[end:]
        self.at = start + len(text)

    def _left(self) -> int:
        """Where the character before the cursor begins; marks belong to what they stand on."""
        start = max(self.at - 1, 0)
        while start and not columns(self.text[start]):
            start -= 1
        return start

    def _right(self) -> int:
        end = min(self.at + 1, len(self.text))
        while end < len(self.text) and not columns(self.text[end]):
            end += 1
        return end

    def _move(self, to: int) -> None:
        self.at = to

    def _delete(self) -> None:
        at, end = self.at, self._right()
        self._replace(at, end)

    def _erase_word(self) -> None:
        before = self.text[: self.at].rstrip()
        self._replace(before.rfind(" ") + 1, self.at)

    def _recall(self, step: int) -> None:
        past = self._past + step
        if 0 <= past <= len(self._history):
            self._past = past
            self.text = self._history[-past] if past else ""
            self.at = len(self.text)


_ACTIONS = {
    "\x01": lambda line: line._move(0),
    "\x05": lambda line: line._move(len(line.text)),
    "\x02": lambda line: line._move(line._left()),
    "\x06": lambda line: line._move(line._right()),
    "\x08": lambda line: line._replace(line._left(), line.at),
    "\x7f": lambda line: line._replace(line._left(), line.at),
    "\x1b[3~": lambda line: line._delete(),
    "\x04": lambda line: line._delete(),
    "\x0b": lambda line: line._replace(line.at, len(line.text)),
    "\x15": lambda line: line._replace(0, line.at),
    "\x17": lambda line: line._erase_word(),
    "\x10": lambda line: line._recall(1),
    "\x0e": lambda line: line._recall(-1),
    "\t": lambda line: line._replace(line.at, line.at, " "),
}
