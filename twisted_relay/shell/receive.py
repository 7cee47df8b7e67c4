"""The receive path of the frames that chats are made of, past most of Autobahn.

Nearly every frame that a client sends is one whole text message: final, masked, of at most 64 KB,
and it comes in one piece or together with others of its kind. Such a frame is taken apart here in
a few steps. Anything else, and anything that breaks a rule, is left to Autobahn, which then does
with it what it always does; so nothing here decides what is an error, or what follows from it.
"""

from __future__ import annotations

from twisted_relay.shell.autobahn_state import unmasked

#: FIN, no reserved bits, opcode 1 (RFC 6455 section 5.2).
_FINAL_TEXT = 0x81
_MASKED = 0x80
#: Past this many bytes compiled code is faster than one XOR of two long integers.
_SHORT = 1024


def text_message(data: bytes, at: int, most: int) -> tuple[bytes, int] | None:
    """The text of the frame that begins at `at`, and where the next one begins.

    Args:
        data: what came from the network.
        at: an index into it, where a frame begins or nothing is left.
        most: the largest payload that is allowed, in bytes.

    Returns:
        None if what is there is for Autobahn to look at: no whole frame, no text, a fragment, one
        that is unmasked, too long, not encoded minimally, or not UTF-8.
    """
    size = len(data)
    if size - at < 6 or data[at] != _FINAL_TEXT:
        return None
    length = data[at + 1] - _MASKED
    start = at + 6
    if length == 126:
        length = data[at + 2] << 8 | data[at + 3]
        start = at + 8
        if length < 126:
            return None
    elif not 0 <= length < 126:
        return None
    end = start + length
    if end > size or length > most:
        return None
    mask = data[start - 4 : start]
    if length < _SHORT:
        key = int.from_bytes((mask * (length // 4 + 1))[:length], "little")
        text = (int.from_bytes(data[start:end], "little") ^ key).to_bytes(length, "little")
    else:
        text = unmasked(mask, data[start:end])
    if not text.isascii():
        try:
            text.decode()
        except UnicodeDecodeError:
            return None
    return text, end
