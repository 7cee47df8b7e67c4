"""Names of files that strangers propose, made harmless."""

import mimetypes
import os
import re
import unicodedata

_LONGEST = 200  # bytes of a name in UTF-8; file systems take 255, and " (2)" must fit
_LONGEST_SUFFIX = 20


def safe_name(offered: str, mime: str = "") -> str:
    """A name for a file out of what a stranger proposes: no path, nothing hidden, not too long.

    Control and format characters go (a reversed ``gpj.exe`` shows what it is), dots and spaces at
    either end too, and a leading hyphen, which a program would take for an option.
    """
    last = re.split(r"[/\\]", offered)[-1]
    shown = "".join(
        char for char in last if unicodedata.category(char)[0] not in "CZ" or char == " "
    )
    name = _shortened(re.sub(r"^[-.\s]+|[.\s]+$", "", shown))
    return name or "file" + (mimetypes.guess_extension(mime) or "")


def _shortened(name: str) -> str:
    stem, suffix = os.path.splitext(name)
    if len(suffix.encode()) > _LONGEST_SUFFIX:
        stem, suffix = name, ""
    kept = stem.encode()[: _LONGEST - len(suffix.encode())].decode("utf-8", "ignore")
    return kept + suffix
