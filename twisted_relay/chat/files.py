"""Files in a chat: what /send takes, what others send, and how far each is."""

import mimetypes
import os
import shlex
import stat
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, DeferredLock

from ..client.errors import ClientError
from ..client.happenings import FileFailed, FileOffered, FileProgress, FileReceived
from ..client.media import MAX_FILE_BYTES
from .downloads import DownloadError, Downloads, reason
from .faults import sentence
from .harmless import name_of
from .progress import Transfer, size_of
from .screen import Screen


class NoFile(ClientError):
    """What /send was given cannot be sent; ``str`` says why."""


def read_file(path: str) -> tuple[str, bytes]:
    """Name and content of a regular file that is not too large to be sent. Raises NoFile."""
    try:
        # O_NONBLOCK: to open a pipe that nobody writes to would take for ever.
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(fd, "rb") as file:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise NoFile(f"{path} is not a regular file")
            content = file.read(MAX_FILE_BYTES + 1) if status.st_size <= MAX_FILE_BYTES else b""
    except ValueError as fault:  # a NUL in the path
        raise NoFile(f"{path} is not the name of a file") from fault
    except OSError as fault:
        raise NoFile(f"cannot read {path}: {reason(fault)}") from fault
    size = max(status.st_size, len(content))
    if size > MAX_FILE_BYTES:
        raise NoFile(f"{path} is too large: {size_of(size)}, and 10 MiB is the most")
    if not content:
        raise NoFile(f"{path} is empty")
    return os.path.basename(path), content


def path_of(words: str) -> str:
    """What a person means by a path: quotes and backslashes as in a shell, ``~`` is home."""
    try:
        parts = shlex.split(words)
    except ValueError:
        parts = []
    # A name with spaces and no quotes is more often meant as one file than as several.
    return os.path.expanduser(parts[0] if len(parts) == 1 else words)


class Files:
    """The files of one conversation. ``send`` hands one to it, ``moved`` hears of progress."""

    def __init__(
        self,
        screen: Screen,
        downloads: Downloads | None,
        send: Callable[..., "Deferred[None]"],
        moved: Callable[[], None],
    ) -> None:
        self.downloads = downloads
        self._screen, self._send, self._moved = screen, send, moved
        self._one_at_a_time = DeferredLock()
        self._under_way: dict[Any, Transfer] = {}

    # Sending

    def send(self, words: str) -> "Deferred[None]":
        """Send a file, after those that are being sent. Raises NoFile; fails with ClientError."""
        name, content = read_file(path_of(words))
        done: Deferred[None] = self._one_at_a_time.run(self._send_one, name, content)
        return done

    def _send_one(self, name: str, content: bytes) -> "Deferred[None]":
        transfer = self._under_way[self] = Transfer("sending", name, len(content))
        self._screen.note(f"sending {name} ({size_of(len(content))})")
        mime = mimetypes.guess_type(name)[0] or "application/octet-stream"

        def over(result: Any) -> Any:
            del self._under_way[self]
            self._show(None)
            return result

        def sent(_: None) -> None:
            self._screen.note(f"sent {name}")

        done = self._send(name, content, mime, lambda sent, _: self._advance(transfer, sent))
        return done.addBoth(over).addCallback(sent)

    # Receiving

    def receive_into(self, words: str) -> None:
        """Keep files in this folder from now on. Raises DownloadError."""
        self.downloads = Downloads.into(path_of(words))

    def offered(self, offer: FileOffered) -> None:
        """A file is about to come."""
        size = size_of(offer.size)
        self._screen.note(f"{name_of(offer.sender)} sends {offer.name} ({size}){self._way_out()}")
        if self.downloads is not None:
            self._under_way[offer.member_id, offer.media_id] = Transfer(
                "receiving", offer.name, offer.size
            )
            self._show(None)

    def progress(self, progress: FileProgress) -> None:
        """A piece of it is here."""
        transfer = self._under_way.get((progress.member_id, progress.media_id))
        if transfer is not None:
            self._advance(transfer, progress.received)

    def received(self, file: FileReceived) -> None:
        """It is here: keep it, if there is a place for it."""
        key = (file.member_id, file.media_id)
        announced = self._under_way.pop(key, None) is not None
        self._show(None)
        what = f"{file.name} ({size_of(len(file.content))}) from {name_of(file.sender)}"
        if self.downloads is None:
            if file.mime.startswith("image/"):  # pictures come without an offer
                self._screen.note(f"{what}{self._way_out()}")
            return
        try:
            path = self.downloads.keep(file.name, file.content, file.mime)
            self._screen.warn(f"saved {path}" if announced else f"saved {path}: {what}")
        except DownloadError as fault:
            self._screen.warn(f"not saved: {what}: {fault}")

    def failed(self, failure: FileFailed) -> None:
        """It will not come."""
        key = (failure.member_id, failure.media_id)
        if self._under_way.pop(key, None) is not None or self.downloads is not None:
            self._screen.warn(f"{failure.name} did not arrive: {failure.reason}")
        self._show(None)

    def _way_out(self) -> str:
        if self.downloads is not None:
            return ""
        return "; it is not kept: --downloads DIR or /downloads DIR would"

    def _advance(self, transfer: Transfer, done: int) -> None:
        self._moved()
        self._show(transfer if transfer.advance(done) else None)

    def _show(self, quarter: Transfer | None) -> None:
        self._screen.progress(list(self._under_way.values()), quarter)


def not_sent(screen: Screen, what: str, fault: BaseException) -> None:
    """Say that something did not reach the room."""
    screen.warn(f"not sent{what}: {sentence(fault)}")
