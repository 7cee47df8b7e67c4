"""How far a file is: a bar for a terminal's row, and a few lines for everything else."""

import attrs

_BAR = 20  # columns of the bar itself
_NARROW = 40  # below so many columns there is only the percentage


def size_of(count: int) -> str:
    """``count`` bytes for people: ``1 byte``, ``999 bytes``, ``12 KB``, ``1.2 MB`` (1000s)."""
    if count < 1000:
        return f"{count} byte" if count == 1 else f"{count} bytes"
    kilo = count / 1000
    if kilo < 999.5:
        return f"{kilo:.1f} KB" if kilo < 9.95 else f"{kilo:.0f} KB"
    return f"{kilo / 1000:.1f} MB"


@attrs.define
class Transfer:
    """One file under way; ``verb`` says in which direction (``sending``, ``receiving``)."""

    verb: str
    name: str
    total: int
    done: int = 0

    @property
    def percent(self) -> int:
        """0 to 100; 100 only when all of it is there."""
        return min(100, self.done * 100 // self.total) if self.total else 100

    def advance(self, done: int) -> bool:
        """Take a new count; whether another quarter is done, which is worth a line of a log."""
        before, self.done = self.percent // 25, min(max(done, self.done), self.total)
        return self.percent // 25 > before

    def line(self) -> str:
        """For a log: ``sending report.pdf: 50 % of 1.2 MB``."""
        return f"{self.verb} {self.name}: {self.percent} % of {size_of(self.total)}"

    def bar(self, width: int) -> str:
        """For a row of ``width`` columns that is redrawn: ``report.pdf [#####.....] 50 %``."""
        percent = f"{self.percent} %"
        if width < _NARROW:
            return percent
        full = self.percent * _BAR // 100
        room = width // 2 - _BAR
        name = self.name if len(self.name) <= room else self.name[: max(room - 1, 0)] + "…"
        return f"{name} [{'#' * full}{'.' * (_BAR - full)}] {percent}".lstrip()
