"""The parts of a log line: values cut to size, failures without their message, two forms."""

from __future__ import annotations

import datetime
import json
import re
import traceback
from collections.abc import Mapping
from typing import Any

from twisted.logger import LogEvent
from twisted.python.failure import Failure

_MAX_TEXT = 300
_MAX_ITEMS = 100
_MAX_FRAMES = 30
_FRAME = re.compile(r'\s*File "[^"]*", line \d+, in \S+\s*$')
_EXCEPTION = re.compile(r"((?:\w+\.)+\w+|\w+(?:Error|Exception|Exit|Interrupt))(?::|\s*$)")


def foreign(event: LogEvent, namespace: str) -> dict[str, Any]:
    """Return what may be written of an event that is not the relay's own: never its text."""
    if namespace in ("stdout", "stderr"):
        return {"msg": _of_print(str(event.get("log_io", ""))), "namespace": namespace}
    if "warning" in event and "category" in event:
        # A Python warning: where and of what class, without its text.
        where = f"{event.get('filename')}:{event.get('lineno')}"
        return {"msg": "Python warning", "type": str(event["category"]), "stack": [where]}
    return {"msg": f"{cut(namespace) or 'other code'} reported", "namespace": cut(namespace)}


def _of_print(line: str) -> str:
    """Return what may be shown of a printed line: the bones of a traceback, else nothing."""
    if _FRAME.match(line) or line.startswith("Traceback (most recent call last)"):
        return cut(line.strip())
    found = _EXCEPTION.match(line)
    return found[1] if found else "output of other code, withheld"


def describe_failure(failure: Failure) -> dict[str, Any]:
    """Return a failure's ``type`` and ``stack`` (``module:function:line``, innermost last).

    Neither its message nor any local: both may hold what a client sent.
    """
    kind = failure.type
    name = f"{kind.__module__}.{kind.__qualname__}" if kind is not None else "unknown"
    trace = failure.getTracebackObject()
    if trace is not None:
        stack = [
            f"{frame.f_globals.get('__name__', '?')}:{frame.f_code.co_qualname}:{line}"
            for frame, line in traceback.walk_tb(trace)
        ]
    else:
        stack = [f"{frame[1]}:{frame[0]}:{frame[2]}" for frame in failure.frames]
    return {"type": name.removeprefix("builtins."), "stack": stack[-_MAX_FRAMES:]}


def bounded(value: object) -> Any:
    """Return ``value`` as plain JSON of bounded size; of any other object only its type."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return cut(str(value))
    if isinstance(value, list | tuple | set | frozenset):
        return [bounded(item) for item in list(value)[:_MAX_ITEMS]]
    return type(value).__name__


def cut(text: str) -> str:
    """Return ``text``, shortened where it is too long for a line."""
    return text if len(text) <= _MAX_TEXT else text[: _MAX_TEXT - 3] + "..."


def iso(seconds: float) -> str:
    """Return Unix ``seconds`` as ISO 8601 in UTC, with milliseconds."""
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def render_json(record: Mapping[str, Any]) -> str:
    """Return the line for machines."""
    return json.dumps(record, separators=(",", ":"))


def render_pretty(record: Mapping[str, Any]) -> str:
    """Return the line for people; below it the stack, if there is one."""
    rest = dict(record)
    level, time, msg = rest.pop("level"), rest.pop("time"), rest.pop("msg")
    stack = rest.pop("stack", ())
    # json.dumps also keeps newlines and terminal escapes out of the line.
    fields = " ".join(f"{name}={json.dumps(value)}" for name, value in rest.items())
    head = f"{time} {level.upper():<5} {json.dumps(msg)[1:-1]}" + (f"  {fields}" if fields else "")
    return "\n".join([head, *(f"    {frame}" for frame in stack)])
