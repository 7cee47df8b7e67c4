"""What the relay itself says: each server frame but the relayed ones, built and sent here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted_relay.core import wire
from twisted_relay.core.errors import RelayError
from twisted_relay.core.settings import RoomLimits, SessionLimits
from twisted_relay.engine.client import Client, LocalRoom, Seated
from twisted_relay.engine.fanout import Fanout

Token = tuple[str, int]


def greeting(server: str, session: SessionLimits, rooms: RoomLimits) -> dict[str, Any]:
    """What HELLO says of the server and the limits in force, the same to everybody."""
    return {
        "server": server,
        "limits": {
            "maxWsMsgBytes": session.max_ws_msg_bytes,
            "maxAppCiphertextBytes": session.max_app_ciphertext_bytes,
            "maxMsgsPer10s": session.max_msgs_per_10s,
            "maxBytesPer10s": session.max_bytes_per_10s,
            "maxMediaBytes": wire.MAX_MEDIA_BYTES,
            "maxMediaChunks": wire.MAX_MEDIA_CHUNKS,
            "maxParticipants": rooms.max_participants,
        },
        "pingIntervalMs": session.ping_interval_ms,
    }


class Notices:
    """Frames of the relay's own making, to one client or to a room.

    Args:
        fanout: the way out.
        frame_id: a new id for a frame.
        max_participants: told with every count.
    """

    def __init__(self, fanout: Fanout, frame_id: Callable[[], str], max_participants: int) -> None:
        self._fanout = fanout
        self._frame_id = frame_id
        self._max = max_participants

    def change(self, max_participants: int) -> None:
        """Tell another capacity from now on."""
        self._max = max_participants

    def answer(
        self, client: Client, kind: str, body: dict[str, Any], re: str | None = None
    ) -> None:
        """A frame to one client; `re` is the id of the frame that it answers."""
        self._fanout.send(client, kind, wire.encode(kind, self._frame_id(), body, re))

    def hello(self, client: Client, now_ms: int, greeting: dict[str, Any]) -> None:
        """HELLO."""
        self.answer(client, "HELLO", {"serverTimeUnixMs": now_ms, **greeting})

    def error(self, client: Client, error: RelayError, re: str | None) -> None:
        """ERROR."""
        self._fanout.send(client, "ERROR", wire.encode_error(error, self._frame_id(), re))

    def created(self, member: Seated, qr: Token, next_token: Token, re: str) -> None:
        """ROOM_CREATED."""
        body = {
            "roomId": member.room.id,
            "qrToken": qr[0],
            "qrExpUnixMs": qr[1],
            "maxParticipants": self._max,
            "memberId": member.id,
            "label": member.label,
            **_next(next_token),
        }
        self.answer(member.client, "ROOM_CREATED", body, re)

    def joined(self, member: Seated, next_token: Token, resumed: bool, re: str) -> None:
        """JOINED."""
        body = {
            **self._counts(member.room),
            "label": member.label,
            "memberId": member.id,
            "resumed": resumed,
            **_next(next_token),
        }
        self.answer(member.client, "JOINED", body, re)

    def left(self, client: Client, room_id: str, re: str) -> None:
        """LEFT."""
        self.answer(client, "LEFT", {"roomId": room_id}, re)

    def token(self, member: Seated, next_token: Token) -> None:
        """TOKEN."""
        body = {"roomId": member.room.id, **_next(next_token)}
        self.answer(member.client, "TOKEN", body)

    def has_entered(self, room: LocalRoom, label: str) -> None:
        """SYSTEM_MSG to the room; the text is fixed, since clients look for it."""
        self._system(room, f"this person has entered the chat with the name {label}")

    def has_left(self, room: LocalRoom, label: str) -> None:
        """SYSTEM_MSG to the room; the text is fixed, since clients look for it."""
        self._system(room, f"{label} has left the chat")

    def stats(self, room: LocalRoom) -> None:
        """ROOM_STATS to the room."""
        self._post(room, "ROOM_STATS", self._counts(room))

    def gap(self, room: LocalRoom) -> None:
        """GAP to the room."""
        self._post(room, "GAP", {"roomId": room.id})

    def qr_rotated(self, room: LocalRoom, qr: Token) -> None:
        """QR_ROTATED to the room."""
        self._post(room, "QR_ROTATED", {"roomId": room.id, "qrToken": qr[0], "qrExpUnixMs": qr[1]})

    def _system(self, room: LocalRoom, text: str) -> None:
        self._post(room, "SYSTEM_MSG", {"roomId": room.id, "text": text, "type": "info"})

    def _post(self, room: LocalRoom, kind: str, body: dict[str, Any]) -> None:
        self._fanout.post(room, kind, wire.encode(kind, self._frame_id(), body))

    def _counts(self, room: LocalRoom) -> dict[str, Any]:
        return {"roomId": room.id, "participants": room.participants, "max": self._max}


def _next(token: Token) -> dict[str, Any]:
    return {"nextToken": token[0], "nextTokenExpUnixMs": token[1]}
