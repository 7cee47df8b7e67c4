"""A client of the relay: transport and encryption apart, and a conversation on top of both.

``RelayClient`` speaks the wire protocol and knows nothing of keys. A ``Cipher`` seals and opens
what it carries; ``RoomCipher`` is the standard one. ``Conversation`` puts the two together: text,
files, invites that work. Nothing here imports the relay. ``docs/client.md`` shows how to use it.
"""

from .cipher import Cipher, CipherError, RoomCipher
from .connection import RelayClient
from .conversation import Conversation
from .errors import ClientError, ConnectFailed, Refused, SeatLost, TooLarge
from .happenings import (
    FileFailed,
    FileOffered,
    FileProgress,
    FileReceived,
    Happening,
    Said,
    Unreadable,
)
from .invite import Invite, InviteError
from .words import WORDS, safety_words

__all__ = [
    "WORDS",
    "Cipher",
    "CipherError",
    "ClientError",
    "ConnectFailed",
    "Conversation",
    "FileFailed",
    "FileOffered",
    "FileProgress",
    "FileReceived",
    "Happening",
    "Invite",
    "InviteError",
    "Refused",
    "RelayClient",
    "RoomCipher",
    "Said",
    "SeatLost",
    "TooLarge",
    "Unreadable",
    "safety_words",
]
