"""Sends a file: announced, then piece by piece, each sealed when the one before has arrived."""

import hashlib
import time
from collections.abc import Callable
from typing import Any

import attrs
from twisted.internet.task import deferLater

from . import media
from .cipher import CHAT_CONTEXT, Cipher
from .connection import RelayClient
from .errors import ClientError, TooLarge
from .frames import new_id
from .messages import FileMessage, encode

Progress = Callable[[int, int], None]
_TURN = 1024 * 1024  # bytes to hash in one turn of the reactor


@attrs.frozen
class FileSender:
    """One member's way to send files. ``label`` gives the name in announcements."""

    client: RelayClient
    cipher: Cipher
    label: Callable[[], str]
    reactor: Any

    async def send(self, name: str, content: bytes, mime: str, progress: Progress | None) -> None:
        """Returns when the relay has handed all of it to the room. Raises ClientError.

        Only one piece is under way at a time. So what is said meanwhile does not wait for the
        whole file, little is in memory, and a stalled network lets no burst loose at its end.
        """
        size = len(content)
        if not 0 < size <= min(media.MAX_FILE_BYTES, self.client.limits.max_media_bytes):
            raise (
                TooLarge("the file is larger than 10 MiB")
                if size
                else ClientError("an empty file cannot be sent")
            )
        picture = media.picture_part(self.cipher, content, mime, self.client.limits)
        if picture is not None:
            await self.client.send_media(picture)
            if progress is not None:
                progress(size, size)
            return
        cut = media.Cut(size, media.piece_bytes(self.client.limits))
        media_id = media.new_media_id()
        await self._announce(media_id, name, content, mime)
        for index in range(cut.count):
            await self.client.send_media(
                media.file_part(self.cipher, content, cut, index, media_id)
            )
            if progress is not None:
                progress(index * cut.piece + cut.length(index), size)

    async def _announce(self, media_id: str, name: str, content: bytes, mime: str) -> None:
        digest = await self._sha256(content)
        now, label = int(time.time() * 1000), self.label()
        file = FileMessage(new_id(), now, label, media_id, name, mime, len(content), digest)
        await self.client.say(self.cipher.seal(encode(file), CHAT_CONTEXT), file.id)

    async def _sha256(self, content: bytes) -> str:
        digest = hashlib.sha256()
        for at in range(0, len(content), _TURN):
            digest.update(content[at : at + _TURN])
            await deferLater(self.reactor, 0)
        return digest.hexdigest()
