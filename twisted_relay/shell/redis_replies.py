"""What the scripts of the Redis store answer, made into values: flat lists of texts and numbers.

A refusal raises `RelayError`; this is where its name in Lua meets its code. A reply that is none of
those that a script gives raises `Senseless`: what is stored there is not ours, or not whole.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import attrs

from twisted_relay.core.errors import Code, RelayError
from twisted_relay.engine.interfaces import QrToken, Registered, Seat, Standing

_ValueT = TypeVar("_ValueT")

#: The highest whole number that a script can tell apart from its neighbours.
_HIGHEST = 2**53

_REFUSALS = {
    "TOKEN_EXPIRED": Code.TOKEN_EXPIRED,
    "TOKEN_REPLAY": Code.TOKEN_REPLAY,
    "NO_ROOM": Code.NO_ROOM,
    "ROOM_FULL": Code.ROOM_FULL,
}


class Senseless(Exception):
    """The reply is none that our scripts give, or says that the step came too late to be taken.

    Attributes:
        reason: ``senseless`` or ``late``.
    """

    def __init__(self, reason: str = "senseless") -> None:
        super().__init__(reason)
        self.reason = reason


class _Parts:
    """The parts of a reply, from left to right."""

    def __init__(self, reply: object) -> None:
        if not isinstance(reply, list):
            raise Senseless
        self._parts: list[Any] = reply
        self._next = 0

    def part(self) -> object:
        if self._next == len(self._parts):
            raise Senseless
        self._next += 1
        return self._parts[self._next - 1]

    def text(self) -> str:
        part = self.part()
        if isinstance(part, bytes):
            try:
                return part.decode()
            except UnicodeDecodeError:
                raise Senseless from None
        if not isinstance(part, str):
            raise Senseless
        return part

    def number(self) -> int:
        part = self.part()
        if not isinstance(part, int) or not 0 <= part <= _HIGHEST:
            raise Senseless
        return part

    def flag(self) -> bool:
        return self.number() != 0

    def texts(self, count: int) -> frozenset[str]:
        return frozenset(self.text() for _ in range(count))

    def end(self) -> None:
        if self._next != len(self._parts):
            raise Senseless

    def standing(self) -> Standing:
        """The last part of a reply, whatever comes before it."""
        revision, participants, reaped = self.number(), self.number(), self.flag()
        leases = self.texts(len(self._parts) - self._next)
        if len(leases) > participants:
            raise Senseless
        return Standing(revision, participants, leases, reaped)


def _read(reply: object, kinds: dict[str, Callable[[_Parts], _ValueT]]) -> _ValueT:
    """The value that a reply stands for, by its first part."""
    parts = _Parts(reply)
    kind = parts.text()
    if kind in _REFUSALS:
        raise RelayError(_REFUSALS[kind])
    if kind not in kinds:
        raise Senseless("late" if kind == "late" else "senseless")
    value = kinds[kind](parts)
    parts.end()
    return value


def read_creation(reply: object) -> None:
    """Whether an address may create another room. Raises RelayError(RATE_LIMITED)."""

    def wait(parts: _Parts) -> NoReturn:
        raise RelayError(Code.RATE_LIMITED, retry_after_ms=parts.number() + 1)

    return _read(reply, {"allowed": lambda _: None, "wait": wait})


def read_seat(reply: object) -> Seat:
    """The seat given."""
    return _read(reply, {"seat": _seat})


def read_empty(reply: object) -> None:
    """A room was made with nobody in it."""
    return _read(reply, {"empty": lambda _: None})


def read_standing(reply: object) -> Standing | None:
    """The room after the step; None if the step found nothing to do."""
    return _read(reply, {"standing": _Parts.standing, "none": lambda _: None})


def read_renewed(reply: object) -> Standing | None:
    """The room, and the seats held under the renewed lease; None if it is not there."""
    return _read(reply, {"renewed": _renewed, "none": lambda _: None})


def read_registered(reply: object) -> Registered:
    """The outcome of a registration."""
    return _read(reply, {"registered": _registered})


def read_exists(reply: object) -> bool:
    """Whether the room is there."""
    return _read(reply, {"yes": lambda _: True, "no": lambda _: False})


def read_qr(reply: object) -> QrToken:
    """The QR token that the room shows."""
    return _read(reply, {"qr": lambda parts: QrToken(parts.text(), parts.number())})


def _renewed(parts: _Parts) -> Standing:
    held = parts.number()
    return attrs.evolve(parts.standing(), held=held)


def _seat(parts: _Parts) -> Seat:
    number, qr_spent, first = parts.number(), parts.flag(), parts.flag()
    taken_from = parts.text() or None
    return Seat(number, parts.standing(), qr_spent, first, taken_from)


def _registered(parts: _Parts) -> Registered:
    made_anew, replaced, crowded_out = parts.flag(), parts.number(), parts.number()
    gone, late = parts.texts(replaced), parts.texts(crowded_out)
    return Registered(parts.standing(), gone, late, made_anew)
