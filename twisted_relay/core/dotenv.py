"""The text of a ``.env`` file, as the old service's loader read it. Nothing is expanded."""

from __future__ import annotations

import re

_LINE = re.compile(
    r"""^[ \t]*(?:export[ \t]+)?(?P<name>[A-Za-z_][A-Za-z0-9_.-]*)[ \t]*=[ \t]*
    (?:"(?P<double>(?:\\.|[^"\\])*)"|'(?P<single>[^']*)'|`(?P<back>[^`]*)`
    |(?P<bare>[^"'`\n][^\n]*|))
    [ \t]*(?:[ \t]\#[^\n]*|(?<=["'`])\#[^\n]*)?$""",
    re.MULTILINE | re.VERBOSE | re.DOTALL,
)
_BLANK = re.compile(r"[ \t]*(?:#[^\n]*)?$", re.MULTILINE)
_COMMENT = re.compile(r"(?:^|[ \t])#.*")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\"}


class DotenvError(ValueError):
    """A line that is no assignment. Its text names the line, and never shows what is on it."""

    def __init__(self, line: int) -> None:
        super().__init__(f"line {line} is not NAME=value")
        self.line = line


def parse_dotenv(text: str) -> dict[str, str]:
    """Return the variables of a ``.env`` text; of a repeated one, the last value.

    A value may stand in quotes ("double", where backslash escapes are undone, 'single' or
    `back`) and then span lines; without quotes it ends before `` #``. A leading ``export`` and
    a byte order mark are passed over, and lines may end in CR LF.

    Raises:
        DotenvError: for a line that is none of these.
    """
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    found: dict[str, str] = {}
    at = 0
    while at < len(text):
        line = _BLANK.match(text, at)
        if line is None:
            line = _LINE.match(text, at)
            if line is None:
                raise DotenvError(text.count("\n", 0, at) + 1)
            found[line["name"]] = _value(line)
        at = line.end() + 1
    return found


def _value(line: re.Match[str]) -> str:
    if line["double"] is not None:
        return re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], m[0]), line["double"], flags=re.DOTALL)
    for quoted in ("single", "back"):
        if line[quoted] is not None:
            return str(line[quoted])
    return _COMMENT.sub("", line["bare"]).strip()
