"""What the fuzzer's bytes stand for: numbers and pieces, read from left to right."""

from __future__ import annotations

from typing import Any

import msgspec


class Input:
    """Bytes to be taken apart. When they are used up, numbers are 0 and pieces are empty."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self._data)

    def number(self, below: int) -> int:
        """A number from 0, by one byte."""
        if not self:
            return 0
        self._at += 1
        return self._data[self._at - 1] % below

    def piece(self) -> bytes:
        """Some bytes; how many, the two before them say. At most what is there."""
        size = self.number(256) << 8 | self.number(256)
        begin, self._at = self._at, min(len(self._data), self._at + size)
        return self._data[begin : self._at]

    def rest(self) -> bytes:
        """All that is left."""
        begin, self._at = self._at, len(self._data)
        return self._data[begin:]


def pieces(*parts: int | bytes) -> bytes:
    """What an `Input` reads as these numbers and pieces."""
    made = []
    for part in parts:
        if isinstance(part, int):
            made.append(bytes((part,)))
        else:
            made.append(len(part).to_bytes(2, "big") + part)
    return b"".join(made)


def anything(data: bytes) -> Any:
    """Any plain value, as MessagePack has it; None where the bytes are none."""
    try:
        return msgspec.msgpack.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError):
        return None
