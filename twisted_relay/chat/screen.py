"""What is shown, and where: plain streams for programs and logs, or a terminal with an input row.

Whatever others wrote is made harmless here, at the last place before a terminal.
"""

import os
import shutil
import termios
from collections.abc import Callable, Sequence
from typing import Any, TextIO

from .edit_line import EditLine
from .harmless import harmless, named_lines, paragraph
from .progress import Transfer
from .qr import coloured, qr_rows

_PROMPT = "> "
_CLEAR_ROW = "\r\x1b[K"


class Screen:
    """Messages go to ``out``, everything else to ``notes``; ``quiet`` leaves most of that out.

    ``on_gone`` is called when nobody reads ``out`` any more.
    """

    def __init__(self, out: TextIO, notes: TextIO, *, quiet: bool = False) -> None:
        self._out, self._notes, self._quiet = out, notes, quiet
        self.on_gone: Callable[[], None] = lambda: None

    def message(self, sender: str, text: str) -> None:
        """What a member said."""
        self._put(self._out, named_lines(sender, text))

    def own(self, sender: str, text: str) -> None:
        """What the person has just typed: only a terminal that does not echo must show it."""

    def note(self, text: str) -> None:
        """Something that is good to know."""
        if not self._quiet:
            self.warn(text)

    def warn(self, text: str) -> None:
        """Something that went wrong, or that even a script must be told."""
        self._put(self._notes, f"* {harmless(text)}")

    def link(self, link: str, *, qr: bool = True) -> None:
        """An invite; alone in its line, so that it can be copied or cut out."""
        self._put(self._notes if self._quiet else self._out, harmless(link))

    def progress(self, transfers: Sequence[Transfer], quarter: Transfer | None) -> None:
        """Files under way have got on; ``quarter`` is one that has come a quarter further."""
        if quarter is not None and quarter.percent < 100:
            self.note(quarter.line())

    def redraw(self) -> None:
        """Show the input row as it is now."""

    def begin(self) -> None:
        """The person may type from now on."""

    def close(self) -> None:
        """Give the terminal back as it was."""

    def _put(self, stream: TextIO, text: str) -> None:
        try:
            print(text, file=stream, flush=True)
        except OSError:  # a broken pipe, or a terminal that was closed
            _discard(stream)
            self.on_gone()


class TerminalScreen(Screen):
    """A terminal whose last row is what is being typed; what arrives is put above it.

    The kernel's own line editing is switched off meanwhile, since it cannot show again what was
    typed. The row never wraps, so that one carriage return and one erasure always take it away.
    """

    def __init__(self, out: TextIO, notes: TextIO, *, fd: int, qr: bool = True) -> None:
        super().__init__(out, out if notes.isatty() else notes)
        self.edit = EditLine()
        self._fd, self._qr = fd, qr
        self._saved: list[Any] | None = None
        self._transfers: Sequence[Transfer] = ()

    def message(self, sender: str, text: str) -> None:
        """What a member said, in one or several rows."""
        self._put(self._out, paragraph(sender, text))

    def own(self, sender: str, text: str) -> None:
        """The line that was just typed becomes one of the conversation."""
        self._put(self._out, paragraph(sender, text))

    def link(self, link: str, *, qr: bool = True) -> None:
        """The link, and the QR code if there is room for the whole of it."""
        self._put(self._out, harmless(link))
        if qr and self._qr:
            self.qr(link, complain=False)

    def qr(self, link: str, *, complain: bool = True) -> None:
        """The QR code of a link; where it does not fit, ``complain`` says so."""
        rows, size = qr_rows(link), shutil.get_terminal_size()
        if len(rows[0]) <= size.columns and len(rows) < size.lines:
            self._put(self._out, coloured(rows))
        elif complain:
            self.warn(f"the QR code needs {len(rows[0])} columns and {len(rows) + 1} rows")

    def progress(self, transfers: Sequence[Transfer], quarter: Transfer | None) -> None:
        """The first of the files is shown in the input row."""
        self._transfers = tuple(transfers)
        self.redraw()

    def redraw(self) -> None:
        """Draw the input row anew."""
        if self._saved is not None:
            self._write(_CLEAR_ROW + self._row())

    def begin(self) -> None:
        """Take the terminal's keys one by one; also after a stop (Ctrl-Z, then fg)."""
        try:
            now = termios.tcgetattr(self._fd)
            if self._saved is None:
                self._saved = [*now[:6], list(now[6])]
            now[3] &= ~(termios.ICANON | termios.ECHO | termios.IEXTEN)
            now[6][termios.VMIN], now[6][termios.VTIME] = 1, 0
            termios.tcsetattr(self._fd, termios.TCSADRAIN, now)
        except termios.error:  # it is no terminal any more
            self.on_gone()
        self.redraw()

    def close(self) -> None:
        """Erase the row and give the terminal back."""
        if self._saved is None:
            return
        self._write(_CLEAR_ROW)
        saved, self._saved = self._saved, None
        try:
            termios.tcsetattr(self._fd, termios.TCSADRAIN, saved)
        except termios.error:
            return

    def _row(self) -> str:
        width = shutil.get_terminal_size().columns
        bar = harmless(self._transfers[0].bar(width)) + " " if self._transfers else ""
        row, back = self.edit.row(bar + _PROMPT, width)
        return row + (f"\x1b[{back}D" if back else "")

    def _put(self, stream: TextIO, text: str) -> None:
        if self._saved is None or stream is not self._out:
            super()._put(stream, text)
        else:
            self._write(f"{_CLEAR_ROW}{text}\n{self._row()}")

    def _write(self, text: str) -> None:
        try:
            self._out.write(text)
            self._out.flush()
        except OSError:
            _discard(self._out)
            self.on_gone()


def _discard(stream: TextIO) -> None:
    """Let what is still written to a stream that nobody reads vanish, to the very end."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
    except (OSError, ValueError):
        return
