"""relay-chat on a terminal: what a person sees, and what others cannot make them see."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path
from typing import Any

import segno

from tests.chat.processes import OnTerminal, Start, StartOnTerminal
from tests.system.conftest import RelayProcess, poll
from twisted_relay.client import Invite, RoomCipher
from twisted_relay.client.cipher import CHAT_CONTEXT
from twisted_relay.client.messages import TextMessage, encode

QR_ROW = re.compile(r"\x1b\[30;107m([ ▀▄█]+)\x1b\[0m\r\n")
MODULES = {" ": (0, 0), "▀": (1, 0), "▄": (0, 1), "█": (1, 1)}


def make_room(
    sit_down: StartOnTerminal, relay: RelayProcess, *more: str, **options: Any
) -> tuple[OnTerminal, str]:
    ann = sit_down(f"ws://127.0.0.1:{relay.port}/ws", "--name", "Ann", *more, **options)
    link = ann.screen.link()
    ann.screen.next(r"\x1b\[K> ")
    return ann, link


def qr_code(shown: str) -> list[list[int]]:
    """The modules that were shown, row by row."""
    modules: list[list[int]] = []
    for row in QR_ROW.findall(shown):
        upper, lower = zip(*(MODULES[block] for block in row), strict=True)
        modules += [list(upper), list(lower)]
    return modules


def test_the_invite_is_a_qr_code_that_holds_the_link(
    relay: RelayProcess, sit_down: StartOnTerminal
) -> None:
    ann, link = make_room(sit_down, relay)
    expected = [list(map(int, row)) for row in segno.make(link, error="l").matrix_iter(border=2)]
    shown = qr_code(str(ann.screen))
    assert shown[: len(expected)] == expected
    assert not any(map(any, shown[len(expected) :]))

    ann.resize(40, 20)
    ann.type("/qr")
    ann.screen.next(r"the QR code needs \d+ columns and \d+ rows")
    ann.type("/invite")
    ann.screen.link()
    ann.press("\x04")
    assert ann.exit_code() == 0
    assert len(qr_code(str(ann.screen))) == len(shown), "it was shown where it has no room"


def test_a_dumb_terminal_is_not_asked_for_more(
    relay: RelayProcess, sit_down: StartOnTerminal
) -> None:
    ann = sit_down(f"ws://127.0.0.1:{relay.port}/ws", TERM="dumb")
    ann.screen.link()
    ann.type("/qr")
    ann.screen.next("QR codes need a terminal that is not dumb")
    ann.type("/quit")
    assert ann.exit_code() == 0
    assert not set(str(ann.screen)) & {"▀", "\x1b"}


def test_what_is_typed_stays_under_what_arrives(
    relay: RelayProcess, sit_down: StartOnTerminal, run: Start
) -> None:
    ann, link = make_room(sit_down, relay)
    assert not ann.echoes()
    bob = run(link, "--name", "Bob")
    ann.screen.next("Bob\r\n\x1b?")
    ann.press("Helo ☕")
    ann.screen.next(r"> Helo ☕")
    bob.type("are you there?")
    ann.screen.next(r"\r\x1b\[KBob: are you there\?\r\n> Helo ☕")
    ann.press("\x1b[D" * 3 + "l" + "\x05" + "!\r")
    ann.screen.next(r"\r\x1b\[KAnn: Hello ☕!\r\n")
    bob.out.next(r"Ann: Hello ☕!\n")
    ann.press("x" * 200)
    ann.screen.next(r"> x{97}(?!x)")  # the row never wraps: 100 columns, one of them free
    ann.press("\x15\x04")
    assert ann.exit_code() == 0
    assert ann.echoes()
    bob.notes.next("Ann has left the chat")


def test_the_terminal_is_taken_again_after_a_stop_and_given_back_after_an_interrupt(
    relay: RelayProcess, sit_down: StartOnTerminal
) -> None:
    ann, _ = make_room(sit_down, relay, "--no-qr")
    os.kill(ann.pid, signal.SIGSTOP)
    ann.restore()
    assert ann.echoes()
    os.kill(ann.pid, signal.SIGCONT)
    poll(lambda: not ann.echoes())
    ann.press("\x03")
    assert ann.exit_code() == 0
    assert ann.echoes()
    assert "▀" not in str(ann.screen)


def test_a_terminal_that_is_closed_leaves_the_room(
    relay: RelayProcess, sit_down: StartOnTerminal, run: Start
) -> None:
    ann, link = make_room(sit_down, relay)
    bob = run(link)
    bob.notes.next("2 of 3")
    ann.hang_up()
    bob.notes.next("Ann has left the chat")


def test_others_command_nothing_and_pass_for_nobody(
    relay: RelayProcess, sit_down: StartOnTerminal, run: Start
) -> None:
    ann, link = make_room(sit_down, relay)
    invite = Invite.parse(link)
    eve = relay.connect()
    eve.join(invite.room_id, relay.http_token(invite.room_id), label="\x1b]0;Eve\x07\u202e")
    ann.screen.next(r"with the name \\x1b\]0;Eve\\x07\\u202e\r\n")
    cipher = RoomCipher(invite.key)
    texts = ("\x1b[2J\x9b1A\rAnn: not me\x08", "one\nAnn: two\u2028three\ttab", "end")
    for number, text in enumerate(texts):
        message = TextMessage(f"message-{number}", 1, "Eve\nAnn: \x1b[1m" + "n" * 99, text)
        sealed = cipher.seal(encode(message), CHAT_CONTEXT)
        eve.send("APP_MSG", roomId=invite.room_id, ciphertextB64=sealed)
    name = r"Eve\\nAnn: \\x1b\[1mn{51}: "
    ann.screen.next(name + r"\\x1b\[2J\\x9b1A\\rAnn: not me\\x08\r\n")
    ann.screen.next(name + r"one\r\n  \| Ann: two\\u2028three\ttab\r\n")
    ann.screen.next(name + r"end\r\n")
    ann.type("/who")
    ann.screen.next(r"2 of 3 in the room: you, .*Eve.*\r\n")
    ann.press("\x04")
    assert ann.exit_code() == 0
    for kind in re.findall(
        r"\x1b\[[0-9;]*.|\x1b.|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]", str(ann.screen)
    ):
        assert re.fullmatch(r"\x1b\[(K|30;107m|0m|\d+D)", kind), "a terminal obeyed others"


def test_a_file_on_its_way_is_a_bar_in_the_input_row(
    relay: RelayProcess, sit_down: StartOnTerminal, tmp_path: Path
) -> None:
    source = tmp_path / "film.bin"
    source.write_bytes(bytes(400_000))
    ann, link = make_room(sit_down, relay)
    bob = sit_down(link, "--downloads", str(tmp_path / "kept"))
    bob.screen.next("2 of 3 in the room")
    ann.screen.next("entered the chat.*\n")
    ann.type(f"/send {source}")
    ann.press("meanwhile")
    for person in (ann, bob):
        person.screen.next(r"\r\x1b\[Kfilm.bin \[#+\.+\] [1-9]\d? % > ")
    ann.screen.next(r"sent film.bin\r\n> meanwhile")
    bob.screen.next(r"saved .*film.bin\r\n> ")
    assert (tmp_path / "kept/film.bin").read_bytes() == bytes(400_000)
    started = time.monotonic()
    for person in (ann, bob):
        person.press("\x15\x04")
        assert person.exit_code() == 0
    assert time.monotonic() - started < 10
