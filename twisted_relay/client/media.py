"""Files as members send them to each other: cut into pieces, sealed, and put together again.

Each piece is sealed by itself, in a context that names its place, so that pieces cannot be swapped.
All are equally long but the last. Nothing here waits or sends.
"""

import hashlib
import secrets

import attrs

from .base64url import to_base64url
from .cipher import Cipher, CipherError
from .errors import ClientError, TooLarge
from .limits import Limits
from .messages import FileMessage
from .part import MediaPart

MAX_FILE_BYTES = 10_485_760
PICTURES = {
    "image/png": ".png",
    "image/jpeg": ".jpg",
    "image/gif": ".gif",
    "image/webp": ".webp",
    "image/avif": ".avif",
}
"""The types that clients show as pictures, with the usual ending of a file name. No SVG: it can
hold programs."""
_PIECE_BYTES = 131_072
_STEP = 1024  # a piece is a multiple of it, and at least one
_ENVELOPE = 2048  # bytes of a frame that are not chunks
_SEALED_MORE = 28  # nonce and tag
_HIDDEN_TYPE = "application/octet-stream"


class MediaError(ClientError):
    """What came is not the file that was announced."""


def context(index: int, length: int) -> bytes:
    """What a piece is sealed with: its place in the file, and its length before sealing."""
    return b"media:v1|%d|%d" % (index, length)


def piece_bytes(limits: Limits) -> int:
    """How long pieces must be for this relay. Raises TooLarge where it takes none at all."""
    room = (limits.max_ws_msg_bytes - _ENVELOPE) * 3 // 4 - _SEALED_MORE
    fitting = min(_PIECE_BYTES, room // _STEP * _STEP)
    if fitting < _STEP:
        raise TooLarge("this relay takes no files")
    return fitting


def new_media_id() -> str:
    """A fresh name for one file: 16 random bytes."""
    return to_base64url(secrets.token_bytes(16))


@attrs.frozen
class Cut:
    """How ``size`` bytes lie in pieces of ``piece`` bytes."""

    size: int
    piece: int

    @property
    def count(self) -> int:
        """How many pieces there are."""
        return -(-self.size // self.piece)

    def length(self, index: int) -> int:
        """The length of one piece."""
        return min(self.piece, self.size - index * self.piece)

    def seal(self, cipher: Cipher, content: bytes, index: int) -> str:
        """One piece of the content, sealed."""
        at = index * self.piece
        return cipher.seal(content[at : at + self.piece], context(index, self.length(index)))

    def open(self, cipher: Cipher, sealed: str, index: int) -> bytes:
        """The inverse. Raises CipherError or MediaError."""
        if not 0 <= index < self.count:
            raise MediaError("a piece lies outside of the file")
        length = self.length(index)
        plain = cipher.open(sealed, context(index, length))
        if len(plain) != length:
            raise MediaError("a piece has another length than it says")
        return plain


def file_part(cipher: Cipher, content: bytes, cut: Cut, index: int, media_id: str) -> MediaPart:
    """The frame for one piece of an announced file: its type is in the announcement only."""
    chunks = (cut.seal(cipher, content, index),)
    return MediaPart(_HIDDEN_TYPE, cut.size, cut.piece, chunks, media_id, index, cut.count)


def picture_part(cipher: Cipher, content: bytes, mime: str, limits: Limits) -> MediaPart | None:
    """The one frame of a picture, which needs no announcement; None if it must go as a file."""
    cut = Cut(len(content), piece_bytes(limits))
    sealed = (len(content) + cut.count * (_SEALED_MORE + 3)) * 4 // 3  # 4 for quotes and comma
    if mime not in PICTURES or sealed + _ENVELOPE > limits.max_ws_msg_bytes:
        return None
    if cut.count > limits.max_media_chunks:
        return None
    chunks = tuple(cut.seal(cipher, content, index) for index in range(cut.count))
    return MediaPart(mime, cut.size, cut.piece, chunks, new_media_id())


def open_picture(cipher: Cipher, part: MediaPart) -> bytes:
    """The content of a picture that came in one frame. Raises CipherError or MediaError."""
    cut = Cut(part.size, max(part.chunk_size, 1))
    if not 0 < part.size <= MAX_FILE_BYTES or len(part.chunks) != cut.count:
        raise MediaError("its sizes contradict each other")
    return b"".join(cut.open(cipher, sealed, at) for at, sealed in enumerate(part.chunks))


@attrs.define
class Assembly:
    """One announced file on its way in; pieces may come in any order, and more than once."""

    announced: FileMessage
    received: int = attrs.field(default=0, init=False)
    _cut: Cut | None = attrs.field(default=None, init=False)
    _pieces: dict[int, bytes] = attrs.field(factory=dict, init=False, repr=False)
    _digest: "hashlib._Hash" = attrs.field(factory=hashlib.sha256, init=False)
    _hashed: int = attrs.field(default=0, init=False)

    @property
    def whole(self) -> bool:
        """Whether every piece is here."""
        return self.received == self.announced.size

    def take(self, cipher: Cipher, part: MediaPart) -> bool:
        """Put a frame's piece in its place; whether it was a new one. Raises MediaError."""
        if self._cut is None:
            self._cut = Cut(self.announced.size, max(part.chunk_size, 1))
        index, chunks = part.part or 0, part.chunks
        if part.size != self._cut.size or part.chunk_size != self._cut.piece or len(chunks) != 1:
            raise MediaError("its sizes contradict each other")
        if part.parts is not None and part.parts != self._cut.count:
            raise MediaError("its sizes contradict each other")
        if index in self._pieces:
            return False
        try:
            plain = self._cut.open(cipher, chunks[0], index)
        except CipherError as fault:
            raise MediaError("a piece is damaged, or was sealed with another key") from fault
        self._pieces[index] = plain
        self.received += len(plain)
        self._hash()
        return True

    def content(self) -> bytes:
        """The whole file. Raises MediaError if it is not what was announced."""
        if self._digest.hexdigest() != self.announced.sha256:
            raise MediaError("the content is not what was announced")
        return b"".join(self._pieces[index] for index in range(len(self._pieces)))

    def _hash(self) -> None:
        """Go on with the digest as far as pieces join, so that the last one costs no more."""
        while (piece := self._pieces.get(self._hashed)) is not None:
            self._digest.update(piece)
            self._hashed += 1
