"""A client of the old service, as its web client was: frames built by hand in its format."""

from __future__ import annotations

import base64
import json
import os
import time
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.system.conftest import Client, RelayProcess, b64url


def from_b64url(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class OldClient:
    """Knows the wire and the room's key, and nothing of what the relay's own clients agreed on."""

    def __init__(self, relay: RelayProcess, room_id: str, key: str, name: str) -> None:
        self._room_id, self._name = room_id, name
        self._cipher = AESGCM(from_b64url(key))
        self.client: Client = relay.connect()
        joined = self.client.join(room_id, relay.http_token(room_id), label=name)
        self._member_id = joined["memberId"]

    def _seal(self, plain: bytes, context: str) -> str:
        nonce = os.urandom(12)
        return b64url(nonce + self._cipher.encrypt(nonce, plain, context.encode()))

    def _open(self, sealed: str, context: str) -> bytes:
        data = from_b64url(sealed)
        return self._cipher.decrypt(data[:12], data[12:], context.encode())

    def say(self, text: str) -> None:
        now = int(time.time() * 1000)
        fields = {"type": "text", "id": b64url(os.urandom(16)), "ts": now, "from": self._name}
        plain = json.dumps(fields | {"text": text}).encode()
        self.client.say(self._room_id, self._seal(plain, "chat:v1"))

    def show(self, picture: bytes, mime: str) -> None:
        """Send a picture in one frame, in chunks of 64 KiB."""
        size = 65_536
        pieces = [picture[at : at + size] for at in range(0, len(picture), size)]
        self.client.send(
            "MEDIA_MSG",
            roomId=self._room_id,
            mime=mime,
            size=len(picture),
            chunkSize=size,
            chunks=[self._seal(p, f"media:v1|{n}|{len(p)}") for n, p in enumerate(pieces)],
        )

    def hears(self) -> dict[str, Any]:
        """The next message of another, decrypted."""
        while (body := self.client.until("APP_MSG")["body"])["memberId"] == self._member_id:
            pass
        found: dict[str, Any] = json.loads(self._open(body["ciphertextB64"], "chat:v1"))
        return found

    def sees(self) -> tuple[str, bytes]:
        """The type and the content of the next picture that comes in one frame."""
        body = self.client.until("MEDIA_MSG")["body"]
        left, content = body["size"], b""
        for index, chunk in enumerate(body["chunks"]):
            length = min(left, body["chunkSize"])
            content += self._open(chunk, f"media:v1|{index}|{length}")
            left -= length
        return body["mime"], content
