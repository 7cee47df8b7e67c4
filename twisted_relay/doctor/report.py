"""The findings, for people and for programs."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Sequence
from itertools import groupby

import attrs

from twisted_relay import __version__
from twisted_relay.doctor.findings import Finding, Status, worst

EXIT_CODES: dict[Status, int] = {"ok": 0, "skipped": 0, "warn": 1, "fail": 2}
_WORDS: dict[Status, str] = {"ok": "ok", "warn": "WARN", "fail": "FAIL", "skipped": "skipped"}
_COLOURS: dict[Status, str] = {"ok": "32", "warn": "33", "fail": "31", "skipped": "2"}
_WIDTH = 100


def exit_code(findings: Sequence[Finding]) -> int:
    """0 when all is well, 1 for warnings alone, 2 when something failed."""
    return EXIT_CODES[worst(findings)]


def as_json(url: str, findings: Sequence[Finding]) -> str:
    """One object: ``version`` of the doctor, ``url``, ``status``, ``checks``."""
    checks = [attrs.asdict(finding) for finding in findings]
    body = {"version": __version__, "url": url, "status": worst(findings), "checks": checks}
    return json.dumps(body, indent=2) + "\n"


def as_text(url: str, findings: Sequence[Finding], colour: bool) -> str:
    """A line for each check; then, for what is not well, the cure; then the sum."""
    lines = [f"relay-doctor {__version__}: {url}", ""]
    rows = [(_names(group), group[0]) for group in _grouped(findings)]
    room = max((len(names) for names, _finding in rows), default=0)
    for names, finding in rows:
        head = f"{_word(finding.status, colour)}  {names:<{room}}  "
        indent = " " * (9 + room + 2)
        lines += _wrapped(finding.seen, head, indent, len(indent))
    for finding in findings:
        if finding.cure:
            lines += ["", f"{_word(finding.status, colour)}  {finding.name}"]
            for label, text in (
                ("seen", finding.seen),
                ("cure", finding.cure),
                ("see", finding.chapter),
            ):
                lines += _wrapped(text, f"  {label:<6}", " " * 8, 8)
    return "\n".join([*lines, "", _sum(findings)]) + "\n"


def _grouped(findings: Sequence[Finding]) -> Iterator[list[Finding]]:
    """Neighbours that were skipped for the same reason are one line."""
    for _key, group in groupby(
        findings, lambda found: found.seen if found.status == "skipped" else found.name
    ):
        yield list(group)


def _names(group: Sequence[Finding]) -> str:
    return group[0].name if len(group) == 1 else f"{group[0].name} ... {group[-1].name}"


def printable(text: str) -> str:
    """The text without what could move a terminal's cursor: some of it came over the network."""
    return "".join(character if character.isprintable() else "?" for character in text)


def _wrapped(text: str, head: str, indent: str, taken: int) -> list[str]:
    # The head may hold codes for colour, which take no room.
    first, *more = textwrap.wrap(
        printable(text), _WIDTH - taken, break_long_words=False, break_on_hyphens=False
    ) or [""]
    return [head + first, *(indent + line for line in more)]


def _word(status: Status, colour: bool) -> str:
    word = f"{_WORDS[status]:<7}"
    return f"\x1b[{_COLOURS[status]}m{word}\x1b[0m" if colour else word


def _sum(findings: Sequence[Finding]) -> str:
    count = dict.fromkeys(_WORDS, 0)
    for finding in findings:
        count[finding.status] += 1
    return (
        f"{count['ok']} ok, {count['warn']} to be looked at, {count['fail']} failed,"
        f" {count['skipped']} skipped"
    )
