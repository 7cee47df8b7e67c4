"""relay-chat: an encrypted chat in a terminal. ``docs/relay-chat.md`` is its manual."""

import os
import sys
from contextlib import suppress


def main(argv: list[str] | None = None) -> None:
    """The console script; always exits: 0 left, 1 could not enter or lost something, 2 bad use."""
    _open_what_is_closed()
    try:
        # Here, since that takes a moment, and Ctrl-C in that moment deserves no traceback.
        from .program import start

        code = start(sys.argv[1:] if argv is None else argv)
    except KeyboardInterrupt:
        code = 1
    sys.exit(code)


def _open_what_is_closed() -> None:
    """A stream that was closed (``>&-``) leaves a number that the next socket would be given."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            with suppress(OSError):  # it is there already, and somebody else's
                os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, open(os.devnull, "r+" if number == 0 else "w"))  # noqa: SIM115
