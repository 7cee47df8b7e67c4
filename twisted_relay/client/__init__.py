"""A client of the relay: transport and encryption apart, and a conversation on top of both.

``RelayClient`` speaks the wire protocol and knows nothing of keys. A ``Cipher`` seals and opens
what it carries; ``RoomCipher`` is the standard one. ``Conversation`` puts the two together: text,
files, invites. Nothing here imports the relay. ``docs/client.md`` shows how to use it.
"""

from .cipher import CHAT_CONTEXT, Cipher, CipherError, RoomCipher
from .connection import RelayClient
from .conversation import Conversation
from .errors import ClientError, ConnectFailed, Refused, SeatLost, TooLarge
from .events import (
    Ended,
    Event,
    Gap,
    Joined,
    Lost,
    Media,
    Message,
    Notice,
    QrRotated,
    Stats,
)
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
from .limits import Limits
from .link import UrlError, check_url, fetch_token
from .media import PICTURES
from .part import MediaPart
from .words import WORDS, safety_words

__all__ = [
    "CHAT_CONTEXT",
    "PICTURES",
    "WORDS",
    "Cipher",
    "CipherError",
    "ClientError",
    "ConnectFailed",
    "Conversation",
    "Ended",
    "Event",
    "FileFailed",
    "FileOffered",
    "FileProgress",
    "FileReceived",
    "Gap",
    "Happening",
    "Invite",
    "InviteError",
    "Joined",
    "Limits",
    "Lost",
    "Media",
    "MediaPart",
    "Message",
    "Notice",
    "QrRotated",
    "Refused",
    "RelayClient",
    "RoomCipher",
    "Said",
    "SeatLost",
    "Stats",
    "TooLarge",
    "Unreadable",
    "UrlError",
    "check_url",
    "fetch_token",
    "safety_words",
]
