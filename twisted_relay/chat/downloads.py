"""Received files on the disk: under names that can do no harm, and over nothing that is there."""

import os
from pathlib import Path

import attrs

from ..client.errors import ClientError
from ..client.file_names import safe_name

_MOST_ALIKE = 1000  # files that differ in their number only


class DownloadError(ClientError):
    """The file could not be kept; ``str`` says why."""


@attrs.frozen
class Downloads:
    """A folder for received files."""

    folder: Path

    @classmethod
    def into(cls, path: str) -> "Downloads":
        """Use the folder ``path``, made if need be (for its owner only). Raises DownloadError."""
        folder = Path(path).expanduser()
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except FileExistsError:
            raise DownloadError(f"{path} is not a folder") from None
        except OSError as fault:
            raise DownloadError(f"cannot make the folder {path}: {reason(fault)}") from fault
        if not os.access(folder, os.W_OK | os.X_OK):
            raise DownloadError(f"cannot write to the folder {path}: no permission")
        return cls(folder)

    def keep(self, offered: str, content: bytes, mime: str = "") -> Path:
        """Write a new file that only its owner can read, and return where. Raises DownloadError.

        ``report.pdf`` becomes ``report (2).pdf`` where there is one. What could not be written
        whole is taken away again.
        """
        stem, suffix = os.path.splitext(safe_name(offered, mime))
        for number in range(1, _MOST_ALIKE):
            path = self.folder / (f"{stem} ({number}){suffix}" if number > 1 else stem + suffix)
            try:
                # O_EXCL: neither a file nor a symbolic link of that name may be there.
                fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            except FileExistsError:
                continue
            except OSError as fault:
                raise DownloadError(reason(fault)) from fault
            _fill(fd, path, content)
            return path
        raise DownloadError("there are too many files of that name")


def _fill(fd: int, path: Path, content: bytes) -> None:
    try:
        with open(fd, "wb", buffering=0) as file:
            rest = memoryview(content)
            while rest:
                rest = rest[file.write(rest) :]
    except OSError as fault:
        path.unlink(missing_ok=True)
        raise DownloadError(reason(fault)) from fault


def reason(fault: OSError) -> str:
    """The system's words for what went wrong, without a path: ``no space left on device``."""
    words = fault.strerror or "input/output error"
    return words[:1].lower() + words[1:]
