"""The files on their way in, over all members: bounded in number, size and patience.

Time is a number; who owns this sets the timer.
"""

import attrs

from . import media
from .cipher import Cipher, CipherError
from .events import Media
from .file_names import safe_name
from .happenings import (
    FileFailed,
    FileOffered,
    FileProgress,
    FileReceived,
    Happening,
    Unreadable,
)
from .media import Assembly, MediaError
from .messages import FileMessage

MOST_FILES = 4  # under way at once
PATIENCE = 120.0  # seconds without a piece


@attrs.define
class _Coming:
    member_id: str
    name: str
    assembly: Assembly
    deadline: float


@attrs.define
class Incoming:
    """Turns announcements and media frames into what the owner is told."""

    _cipher: Cipher
    _coming: dict[tuple[str, str], _Coming] = attrs.field(factory=dict, init=False)

    @property
    def deadline(self) -> float | None:
        """When to call ``expire``, if any file is under way."""
        return min((coming.deadline for coming in self._coming.values()), default=None)

    def announce(self, member_id: str, file: FileMessage, now: float) -> list[Happening]:
        """A member says that a file is coming."""
        name, key = safe_name(file.name, file.mime), (member_id, file.media_id)
        if key in self._coming:
            return []
        refusal = self._refusal(file)
        if refusal is not None:
            return [FileFailed(file.media_id, member_id, name, refusal)]
        self._coming[key] = _Coming(member_id, name, Assembly(file), now + PATIENCE)
        offered = FileOffered(file.media_id, member_id, file.sender, name, file.mime, file.size)
        return [offered]

    def take(self, event: Media, now: float) -> list[Happening]:
        """A media frame came. One of a file that nobody announced to us is no concern of ours."""
        key = (event.member_id, event.part.media_id or "")
        coming = self._coming.get(key)
        if coming is None:
            lone = event.part.mime in media.PICTURES and event.part.parts in (None, 1)
            return [self._picture(event)] if lone else []
        try:
            if not coming.assembly.take(self._cipher, event.part):
                return []
            coming.deadline = now + PATIENCE
            return self._progress(key, coming)
        except MediaError as fault:
            del self._coming[key]
            return [FileFailed(key[1], key[0], coming.name, str(fault))]

    def expire(self, now: float) -> list[Happening]:
        """Give up on those that nothing was heard of for too long."""
        late = [key for key, coming in self._coming.items() if coming.deadline <= now]
        return self._fail(late, "nothing came for two minutes")

    def give_up(self, reason: str) -> list[Happening]:
        """Give up on all of them."""
        return self._fail(list(self._coming), reason)

    def _fail(self, keys: list[tuple[str, str]], reason: str) -> list[Happening]:
        return [FileFailed(key[1], key[0], self._coming.pop(key).name, reason) for key in keys]

    def _refusal(self, file: FileMessage) -> str | None:
        if file.size > media.MAX_FILE_BYTES:
            return "it is larger than 10 MiB"
        if file.size < 1:
            return "it is empty"
        if len(self._coming) >= MOST_FILES:
            return "too many files are under way"
        return None

    def _progress(self, key: tuple[str, str], coming: _Coming) -> list[Happening]:
        file, received = coming.assembly.announced, coming.assembly.received
        told: list[Happening] = [FileProgress(file.media_id, key[0], received, file.size)]
        if coming.assembly.whole:
            content = coming.assembly.content()
            del self._coming[key]
            got = (file.media_id, coming.member_id, file.sender, coming.name, file.mime, content)
            told.append(FileReceived(*got))
        return told

    def _picture(self, event: Media) -> Happening:
        part, member_id = event.part, event.member_id
        try:
            content = media.open_picture(self._cipher, part)
        except (CipherError, MediaError) as fault:
            return Unreadable(member_id, f"a picture: {fault}")
        name = "picture" + media.PICTURES[part.mime]
        media_id = part.media_id or event.id
        return FileReceived(media_id, member_id, event.sender, name, part.mime, content)
