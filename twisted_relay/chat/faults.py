"""What went wrong, in words for the person at the terminal."""

import re

from ..client.errors import ClientError, Refused

_REFUSALS = {
    "ERR_NO_ROOM": "there is no such room, or no longer",
    "ERR_ROOM_GONE": "the room is gone",
    "ERR_ROOM_FULL": "the room is full; try again when somebody has left",
    "ERR_TOKEN_EXPIRED": "this invite is too old; ask for a new one",
    "ERR_TOKEN_REPLAY": "this invite was used already; ask for a new one",
    "ERR_TOKEN_MAC": "this invite was not made by this relay",
    "ERR_TOKEN_FORMAT": "the link is damaged",
    "ERR_TOKEN_ROOM_MISMATCH": "the link is damaged: its token is for another room",
    "ERR_RATE_LIMITED": "the relay has had too much from your address; try again in a minute",
    "ERR_UNAVAILABLE": "the relay cannot reach its rooms just now; try again soon",
    "ERR_CIPHERTEXT_TOO_LARGE": "too long for this relay",
    "ERR_MEDIA_TOO_LARGE": "the file is too large for this relay",
}
_HANDSHAKE = "the relay closed the connection during the handshake"
_ENDS = {
    "replaced": "another client has taken your seat",
    "closed": "the relay has closed the connection",
}


_STATUS = re.compile(r"HTTP (\d{3})|the relay refused the connection: (\d{3}).*", re.DOTALL)
_ANSWERS = {
    "403": "the relay lets nobody in from here",
    "429": "the relay has had too much from your address; try again in a minute",
    "503": "the relay takes nobody in just now; try again soon",
}


def sentence(fault: BaseException) -> str:
    """One line; an ERROR of the relay keeps its code, to be looked up."""
    if http := _STATUS.fullmatch(str(fault)):
        status = http[1] or http[2]
        return f"{_ANSWERS.get(status, 'there is no relay at this address')} (HTTP {status})"
    if str(fault) == _HANDSHAKE:
        return "what is at this address does not answer as a relay does"
    if isinstance(fault, Refused):
        words = _REFUSALS.get(fault.code)
        return f"{words} ({fault.code})" if words else str(fault)
    if isinstance(fault, ClientError):
        return str(fault)
    return f"unexpected: {type(fault).__name__}"


def ending(reason: str) -> str:
    """Why the conversation is over, out of the reason of an ``Ended``."""
    for code, words in _REFUSALS.items():
        if re.search(rf"\b{code}\b", reason):
            return f"{words} ({code})"
    return _ENDS.get(reason, reason)
