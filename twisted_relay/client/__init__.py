"""A client of the relay: transport and encryption apart, and a terminal chat on top of both.

``RelayClient`` speaks the wire protocol and knows nothing of keys; ``RoomCipher`` seals and opens
what it carries. Nothing here imports the relay.
"""

from .cipher import CipherError, RoomCipher, TextMessage
from .connection import RelayClient
from .errors import ClientError, ConnectFailed, Refused, SeatLost
from .invite import Invite, InviteError

__all__ = [
    "CipherError",
    "ClientError",
    "ConnectFailed",
    "Invite",
    "InviteError",
    "Refused",
    "RelayClient",
    "RoomCipher",
    "SeatLost",
    "TextMessage",
]
