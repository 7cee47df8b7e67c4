"""One media frame as a client sees it: some chunks of a file, sealed."""

from typing import Self

import attrs

from .frames import Frame, FrameError


@attrs.frozen
class MediaPart:
    """What a MEDIA_MSG carries. ``size`` is of the whole file, in bytes before encryption.

    ``chunks`` are sealed pieces of ``chunk_size`` bytes, the last one shorter. A file that does not
    fit one frame goes in several parts, with the same ``media_id`` and ``part`` from 0 to
    ``parts`` - 1. The relay passes all of it on and interprets none of it.
    """

    mime: str
    size: int
    chunk_size: int
    chunks: tuple[str, ...] = attrs.field(repr=False)
    media_id: str | None = None
    part: int | None = None
    parts: int | None = None

    def body(self) -> dict[str, object]:
        """The fields on the wire."""
        return {
            "mime": self.mime,
            "size": self.size,
            "chunkSize": self.chunk_size,
            "chunks": self.chunks,
            "mediaId": self.media_id,
            "part": self.part,
            "parts": self.parts,
        }

    @classmethod
    def of(cls, frame: Frame) -> Self:
        """From MEDIA_MSG. Raises FrameError."""
        chunks = frame.body.get("chunks")
        if not isinstance(chunks, list) or not all(isinstance(chunk, str) for chunk in chunks):
            raise FrameError("chunks is missing in a frame of the relay")
        return cls(
            frame.text("mime"),
            _number(frame, "size"),
            _number(frame, "chunkSize"),
            tuple(chunks),
            frame.text_or("mediaId") or None,
            _optional(frame, "part"),
            _optional(frame, "parts"),
        )


def _number(frame: Frame, field: str) -> int:
    """Older relays pass numbers on as strings of digits, if the sender wrote them so."""
    text = frame.text_or(field)
    value = int(text) if text.isascii() and text.isdigit() and len(text) < 19 else -1
    value = frame.number(field, value)
    if value < 0:
        raise FrameError(f"{field} is missing in a frame of the relay")
    return value


def _optional(frame: Frame, field: str) -> int | None:
    value = frame.number(field, -1)
    return value if value >= 0 else None
