"""What /metrics counts: since the start of the process, and between two looks at it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from twisted_relay.doctor.findings import milliseconds, share
from twisted_relay.doctor.network import Answer, Unreachable

FEW = 20
"""Of fewer events since the start no share is taken."""
FEW_WRONG = 3
"""Of fewer that went wrong between two looks no share is taken: those seconds are few, too."""
FEW_TIMES = 2
"""Of fewer durations between two looks there is no telling."""
YOUNG_SECONDS = 600.0
"""What a younger process counted since its start is of now as well."""

Series = Mapping[str, float]
Tally = Callable[[Series], tuple[float, float]]
"""How many events went wrong, and of how many; NaN where the relay does not count them."""
_LABEL = re.compile(r'"([^"]*)"')
_GROWING = ("_total", "_count", "_bucket")
_STARTED, _UPTIME = "process_start_time_seconds", "uptime_seconds"


def read_series(reply: Answer | Unreachable) -> Series | str:
    """The series of /metrics in JSON, by name with labels; or why there are none."""
    if isinstance(reply, Unreachable):
        return f"/metrics: {reply}"
    found = reply.fields.get("metrics")
    if not isinstance(found, dict):
        if reply.status in (401, 403, 404):
            return f"/metrics: HTTP {reply.status}, it is not served here: give --ops-url"
        return f"/metrics: HTTP {reply.status}, and not a relay's answer"
    return {name: _value(each) for name, each in found.items()}


def _value(each: Any) -> float:
    value = each.get("value") if isinstance(each, dict) else None
    return float(value) if isinstance(value, int | float) else math.nan


def labelled(series: Series, name: str) -> dict[str, float]:
    """The values of a series with one label, by that label."""
    found = {}
    for key, value in series.items():
        if key.startswith(f"{name}{{"):
            label = _LABEL.search(key)
            found[label[1] if label else ""] = value
    return found


def known(*values: float) -> bool:
    """Whether the relay told all of them."""
    return not any(math.isnan(value) for value in values)


def span(seconds: float) -> str:
    """A long time for people."""
    if math.isnan(seconds):
        return "an unknown time"
    for size, unit in ((86_400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds"


def quantile(series: Series, name: str, part: float) -> float:
    """The bound of a histogram under which this part of its events lies; NaN without events."""
    buckets = sorted(
        (float(bound.replace("+Inf", "inf")), count)
        for bound, count in labelled(series, f"{name}_bucket").items()
    )
    if not buckets or not buckets[-1][1] > 0:
        return math.nan
    return next(bound for bound, count in buckets if count >= buckets[-1][1] * part)


@attrs.frozen
class Judged:
    """What a check goes by.

    Attributes:
        value: a share, or seconds; 0 where there is too little to tell by.
        series: the counts that it is of.
        seen: these counts, and behind them the others.
    """

    value: float
    series: Series
    seen: str


@attrs.frozen
class Counts:
    """What one process counts.

    Attributes:
        latest: of the last answer.
        recent: by how much each had grown since the answer before; None without one of the same
            process, and ``why`` says why.
        seconds: between the two answers.
    """

    latest: Series
    recent: Series | None = None
    seconds: float = 0.0
    why: str = ""

    @property
    def lately(self) -> str:
        """The time between the answers."""
        return f"in the last {self.seconds:.{0 if self.seconds >= 1 else 1}f} s"

    @property
    def since(self) -> str:
        """The whole time."""
        return f"since the start, {span(self.latest.get(_UPTIME, math.nan))} ago"

    @property
    def young(self) -> bool:
        """Whether what was counted since the start is of now."""
        return self.latest.get(_UPTIME, math.nan) < YOUNG_SECONDS

    def share(self, tally: Tally) -> Judged | None:
        """Of all events those that went wrong. None if the relay does not count them.

        It is of the time between two looks; only where that is too short to tell, and the process
        is young, or where there was one look only, it is of the whole.
        """
        wrong, events = tally(self.latest)
        if not known(wrong, events):
            return None
        enough = wrong and events >= FEW
        whole = Judged(wrong / events if enough else 0.0, self.latest, _of(wrong, events))
        if self.recent is None:
            return attrs.evolve(whole, seen=f"{whole.seen} {self.since} ({self.why})")
        wrong, events = tally(self.recent)
        told = f"{_of(wrong, events)} {self.lately}"
        remark = f"{whole.seen} {self.since}"
        if self.young and events < FEW and wrong < FEW_WRONG:
            return attrs.evolve(whole, seen=f"{remark}; {told}")
        # Of what was asked before, some may go wrong only now.
        value = wrong / max(events, wrong) if wrong >= FEW_WRONG else 0.0
        return Judged(value, self.recent, f"{told}; {remark}")

    def some(self, tally: Callable[[Series], float]) -> Judged | None:
        """How many there were, where none is right: as for `share`, in a young process of all."""
        whole = tally(self.latest)
        if not known(whole):
            return None
        remark = f"{whole:.0f} {self.since}" if whole else f"none {self.since}"
        if self.recent is None:
            return Judged(whole, self.latest, f"{remark} ({self.why})")
        lately = tally(self.recent)
        seen = f"{lately:.0f} {self.lately}; {remark}" if whole else remark
        return Judged(whole if self.young else lately, self.recent, seen)

    def slowness(self, name: str, part: float) -> Judged | None:
        """The duration under which ``part`` of a histogram lies, or half where they are few.

        As for `share`; in a young process the worse of the two. None where nothing was measured.
        """
        found: list[Judged] = []
        lately = 0.0 if self.recent is None else self.recent.get(f"{name}_count", 0.0)
        if self.recent is not None and lately >= FEW_TIMES:
            found.append(_slowness(self.recent, name, part if lately >= FEW else 0.5, self.lately))
        if self.latest.get(f"{name}_count", 0.0) >= FEW:
            found.append(_slowness(self.latest, name, part, self.since))
        found = [judged for judged in found if known(judged.value)]
        if self.young:
            found.sort(key=lambda judged: -judged.value)
        if not found:
            return None
        return attrs.evolve(found[0], seen="; ".join(judged.seen for judged in found))


def _of(wrong: float, events: float) -> str:
    if not wrong:
        return f"none of {events:.0f}"
    part = f" ({share(wrong, events)})" if events else ""
    return f"{wrong:.0f} of {events:.0f}{part}"


def _slowness(series: Series, name: str, part: float, when: str) -> Judged:
    value = quantile(series, name, part)
    bound = "more than was measured" if math.isinf(value) else f"{milliseconds(value)} at most"
    return Judged(value, series, f"{bound} for {part * 100:.0f} % {when}")


def between(first: Answer, second: Answer) -> Counts | None:
    """What grew from one answer to the other; None if the same process did not give both.

    Behind a proxy another instance may have answered, and an instance may have been restarted.
    """
    before, after = read_series(first), read_series(second)
    if isinstance(before, str) or isinstance(after, str):
        return None
    grown = after.get(_UPTIME, math.nan) - before.get(_UPTIME, math.nan)
    fits = second.sent - first.came - 0.5 <= grown <= second.came - first.sent + 0.5
    fell = any(after.get(key, 0.0) < was for key, was in before.items() if _grows(key))
    if not fits or fell or before.get(_STARTED) != after.get(_STARTED):
        return None
    recent = {key: value - before.get(key, 0.0) for key, value in after.items()}
    return Counts(after, recent, second.came - first.came)


def _grows(key: str) -> bool:
    return key.partition("{")[0].endswith(_GROWING)
