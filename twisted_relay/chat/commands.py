"""What a person can ask for with a slash: one table, out of which /help is made, too."""

from collections.abc import Callable
from typing import Any, Protocol

from ..client.errors import ClientError
from .downloads import DownloadError
from .files import NoFile


class Room(Protocol):
    """What commands need of a chat."""

    screen: Any
    people: Any
    files: Any

    def show_invite(self, *, once: bool) -> None:
        """Show a link that others can join by."""

    def show_qr(self) -> None:
        """Show the invite as a QR code."""

    def show_words(self) -> None:
        """Show the safety words of the room's key."""

    def send(self, words: str) -> None:
        """Send a file. Raises NoFile."""

    def quit(self) -> None:
        """Leave when everything is delivered."""


def run(room: Room, line: str) -> None:
    """Carry out the command in ``line``, which starts with a slash."""
    name, _, words = line.strip().partition(" ")
    command = _COMMANDS.get(name)
    if command is None:
        room.screen.warn(
            f"there is no {name}; /help shows what there is, // begins a message with /"
        )
        return
    try:
        command[2](room, words.strip())
    except (NoFile, DownloadError) as fault:
        room.screen.warn(str(fault))
    except ClientError as fault:
        room.screen.warn(f"{name}: {fault}")


def _help(room: Room, _words: str) -> None:
    for usage, meaning, _ in _COMMANDS.values():
        room.screen.warn(f"{usage:<16} {meaning}")


def _downloads(room: Room, words: str) -> None:
    if words:
        room.files.receive_into(words)
    folder = room.files.downloads
    room.screen.warn(
        f"files that others send are kept in {folder.folder}"
        if folder is not None
        else "files that others send are not kept; /downloads DIR names a folder for them"
    )


def _invite(room: Room, words: str) -> None:
    room.show_invite(once=words == "once")


_COMMANDS: dict[str, tuple[str, str, Callable[[Room, str], None]]] = {
    "/invite": ("/invite", "the link by which others join; /invite once: for one use", _invite),
    "/qr": ("/qr", "the invite as a QR code", lambda room, _: room.show_qr()),
    "/words": (
        "/words",
        "eight words to compare with the others",
        lambda room, _: room.show_words(),
    ),
    "/who": ("/who", "who is in the room", lambda room, _: room.screen.warn(str(room.people))),
    "/send": ("/send PATH", "send a file to everybody", lambda room, words: room.send(words)),
    "/downloads": ("/downloads DIR", "keep what others send in this folder", _downloads),
    "/help": ("/help", "this", _help),
    "/quit": ("/quit", "leave (also Ctrl-D)", lambda room, _: room.quit()),
}
