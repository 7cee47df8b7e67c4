"""The parts of relay-chat that need neither a process nor a network."""

from __future__ import annotations

import errno
import os
import re
import resource
import stat
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from twisted_relay.chat.downloads import DownloadError, Downloads
from twisted_relay.chat.edit_line import EditLine
from twisted_relay.chat.faults import ending, sentence
from twisted_relay.chat.files import Files, NoFile, path_of, read_file
from twisted_relay.chat.harmless import (
    batches,
    columns,
    harmless,
    name_of,
    named_lines,
    paragraph,
    pieces,
)
from twisted_relay.chat.people import People
from twisted_relay.chat.progress import Transfer, size_of
from twisted_relay.chat.reading import Lines
from twisted_relay.chat.reporter import Reporter
from twisted_relay.chat.screen import Screen
from twisted_relay.client import (
    ConnectFailed,
    FileFailed,
    FileOffered,
    FileProgress,
    FileReceived,
    Refused,
    Said,
    events,
)
from twisted_relay.client.file_names import safe_name

# What others wrote


@given(st.text())
def test_no_text_of_others_commands_the_terminal(text: str) -> None:
    for shown in (harmless(text), name_of(text), named_lines(text, text), paragraph(text, text)):
        controls = {char for char in shown if ord(char) < 0x20 or 0x7F <= ord(char) < 0xA0}
        assert controls <= {"\n", "\t"}
        assert not set(shown) & {"\u202e", "\u2066", "\u2028", "\u2029", "\u061c", "\ufeff"}
        shown.encode()
    for line in paragraph(text, text).split("\n")[1:]:
        assert line.startswith("  | ")
    for line in named_lines("Ann", text).split("\n"):
        assert line.startswith("Ann: ")
    assert not set(harmless(text) + name_of(text)) & {"\n", "\t"}


def test_escapes_are_shown_and_letters_and_emoji_stay() -> None:
    assert harmless("\x1b[2Jhi\n\u202e\t") == "\\x1b[2Jhi\\n\\u202e\\t"
    family = "Zoë 👩\u200d👧"
    assert harmless(family) == family
    assert name_of("") == "?"
    assert len(name_of("n" * 500)) == 64
    assert named_lines("A", "a\tb\n\nB: c\r") == "A: a\tb\nA: \nA: B: c\\r"
    assert paragraph("A", "a\r\nB: c") == "A: a\n  | B: c"
    assert "".join(pieces("x" * 9001)) == "x" * 9001
    assert len(pieces("x" * 9001)) == 3
    lines = ["x" * 1500, "", "y" * 2400, "z", "w" * 9000, "v"]
    assert [len(batch) for batch in batches(lines)] == [3904, 9000, 1]
    assert "\n".join(batches(lines)).split("\n") == lines


# What is typed


def typed(keys: str, line: EditLine | None = None) -> tuple[list[str | None], str, int]:
    line = line or EditLine()
    finished = list(line.feed(keys.encode()))
    return finished, line.text, line.at


KEYS = [
    ("abc\x1b[D\x1b[Dx", "axbc", 2),
    ("abc\x01x\x05y\x02\x02\x06z", "xabczy", 5),
    ("abc\x1b[Hx\x1b[Fy", "xabcy", 5),
    ("one two  \x17x", "one x", 5),
    ("one two\x02\x0b", "one tw", 6),
    ("one two\x02\x15", "o", 0),
    ("ab\x02\x1b[3~\x04c", "ac", 2),
    ("e\u0301x\x7f\x7f", "", 0),
    ("漢字\x02\x7f", "字", 0),
    ("\x7f\x08\x1b[Da", "a", 1),
    ("a\tb\x07\x1b[200~\x1bx", "a b", 3),
    ("👩\u200d👧", "👩\u200d👧", 3),
]


def test_keys_edit_the_line() -> None:
    for keys, text, at in KEYS:
        assert typed(keys) == ([], text, at), repr(keys)


def test_lines_are_finished_remembered_and_ended() -> None:
    line = EditLine()
    assert typed("one\rtwo\n\x04", line) == (["one", "two", None], "", 0)
    assert typed("x\x1b[A\x1b[A\x1b[A", line)[1] == "one"
    assert typed("\x1b[B\x1b[B", line)[1] == ""
    assert typed("\x10\x10!\r", line)[0] == ["one!"]
    # A key's bytes, and a character's, may come apart.
    assert list(line.feed(b"ab\x1b")) + list(line.feed(b"[")) + list(line.feed(b"D\xc3")) == []
    assert [*line.feed(b"\xbc\r")] == ["aüb"]


@given(st.lists(st.binary(max_size=12), max_size=20), st.integers(1, 40))
def test_whatever_is_typed_fits_the_row(chunks: list[bytes], width: int) -> None:
    line = EditLine()
    for chunk in chunks:
        for finished in line.feed(chunk):
            assert finished is None or "\n" not in finished
        row, back = line.row("> ", width)
        assert columns(row) <= max(width - 1, 4)
        assert 0 <= back <= columns(row)
        assert 0 <= line.at <= len(line.text)
        assert row.isprintable() or set(row) & {"\u200c", "\u200d"}


@given(st.text(), st.integers(1, 9))
def test_lines_of_a_pipe_come_whole_however_they_were_cut(text: str, size: int) -> None:
    data, lines = text.encode("utf-8", "replace"), Lines()
    found = [line for at in range(0, len(data), size) for line in lines.feed(data[at : at + size])]
    expected = data.decode().split("\n")
    assert [*found, lines.last()] == [line.removesuffix("\r") for line in expected[:-1]] + [
        expected[-1]
    ]


# Files


@given(st.text(), st.sampled_from(["", "image/png", "text/html"]))
def test_a_safe_name_is_a_name_and_nothing_else(offered: str, mime: str) -> None:
    name = safe_name(offered, mime)
    assert name
    assert not set(name) & {"/", "\\", "\0", "\n", "\x1b", "\u202e"}
    assert name[0] not in ".- "
    assert len(name.encode()) <= 200
    assert safe_name(name, mime) == name


HARMFUL = [
    ("../../etc/passwd", "passwd"),
    ("/etc/ssh/sshd_config", "sshd_config"),
    ("C:\\Windows\\evil.exe", "evil.exe"),
    (".bashrc", "bashrc"),
    ("..", "file.png"),
    ("-rf", "rf"),
    ("a\u202egpj.exe", "agpj.exe"),
    ("x" * 300 + ".pdf", "x" * 196 + ".pdf"),
    ("é" * 300, "é" * 100),
    ("report.pdf ", "report.pdf"),
]


def test_names_that_mean_harm() -> None:
    for offered, name in HARMFUL:
        assert safe_name(offered, "image/png") == name


def test_nothing_is_overwritten_and_nobody_else_can_read_it(tmp_path: Path) -> None:
    downloads = Downloads.into(str(tmp_path / "new/folder"))
    outside = tmp_path / "outside"
    (downloads.folder / "a.txt").symlink_to(outside)
    paths = [downloads.keep("../a.txt", b"first"), downloads.keep("a.txt", b"second")]
    assert [path.name for path in paths] == ["a (2).txt", "a (3).txt"]
    assert [path.read_bytes() for path in paths] == [b"first", b"second"]
    assert {path.parent for path in paths} == {downloads.folder}
    assert not outside.exists()
    assert {stat.S_IMODE(path.stat().st_mode) for path in paths} == {0o600}
    assert stat.S_IMODE(downloads.folder.stat().st_mode) == 0o700


def test_what_does_not_fit_the_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    downloads = Downloads.into(str(tmp_path))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(DownloadError, match="file too large"):
            downloads.keep("a.bin", bytes(2000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert os.listdir(tmp_path) == []
    (tmp_path / "gone").mkdir()
    gone = Downloads.into(str(tmp_path / "gone"))
    gone.folder.rmdir()
    with pytest.raises(DownloadError, match="no such file or directory"):
        gone.keep("a.bin", b"x")
    assert os.strerror(errno.ENOENT).lower() == "no such file or directory"


def test_what_can_be_sent(tmp_path: Path) -> None:
    large, pipe = tmp_path / "large", tmp_path / "pipe"
    with large.open("wb") as file:
        file.truncate(10_485_761)
    os.mkfifo(pipe)
    for path, words in (
        (large, "is too large: 10.5 MB, and 10 MiB is the most"),
        (pipe, "is not a regular file"),
        (tmp_path, "is a directory"),
        (Path("/dev/null"), "is not a regular file"),
    ):
        with pytest.raises(NoFile, match=words):
            read_file(str(path))
    for name in ("a\0b", "", str(tmp_path / "no")):
        with pytest.raises(NoFile):
            read_file(name)
    os.truncate(large, 10_485_760)
    assert read_file(str(large)) == ("large", bytes(10_485_760))
    os.truncate(large, 0)
    with pytest.raises(NoFile, match="is empty"):
        read_file(str(large))


def test_paths_are_meant_as_in_a_shell_or_as_they_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    paths = [path_of(words) for words in ("'a b'", "a\\ b", "a b", "~/x", "it's", '"a b" c')]
    assert paths == ["a b", "a b", "a b", "/home/ann/x", "it's", '"a b" c']


def test_progress_is_a_bar_or_four_quarters() -> None:
    transfer = Transfer("sending", "report.pdf", 1_200_000)
    quarters = [transfer.advance(count) for count in range(0, 1_300_000, 100_000)]
    assert quarters.count(True) == 4
    assert transfer.line() == "sending report.pdf: 100 % of 1.2 MB"
    transfer.done = 540_000
    assert transfer.bar(80) == "report.pdf [#########...........] 45 %"
    assert transfer.bar(20) == "45 %"
    assert columns(Transfer("receiving", "n" * 90, 10).bar(60)) < 45
    assert [size_of(n) for n in (1, 999, 1000, 9_949, 12_000, 999_499, 999_500, 10_485_760)] == [
        *("1 byte", "999 bytes", "1.0 KB", "9.9 KB", "12 KB", "999 KB", "1.0 MB", "10.5 MB"),
    ]


# Who is there, and what went wrong


def test_people_are_known_by_what_was_heard() -> None:
    people = People()
    people.arrived(2, 10, announced="Ann")
    assert str(people) == "2 of 10 in the room: you, 1 whose name was not heard yet"
    assert not people.noticed("this person has entered the chat with the name Ann")
    people.heard("m1", "Bob")
    people.heard("m1", "Bob")
    assert people.noticed("this person has entered the chat with the name Ann")
    people.counted(3, 10)
    people.heard("m2", "Ann")
    assert str(people) == "3 of 10 in the room: you, Ann, Bob"
    people.heard("m2", "Anna")
    assert people.names() == ["Anna", "Bob"]
    assert people.noticed("Bob has left the chat")
    assert people.noticed("nobody has left the chat")
    people.counted(2, 10)
    assert str(people) == "2 of 10 in the room: you, Anna"
    people.arrived(3, 10, announced=None)
    assert str(people) == "3 of 10 in the room: you, 2 whose name was not heard yet"


FAULTS = [
    (Refused("ERR_TOKEN_EXPIRED"), "this invite is too old; ask for a new one"),
    (Refused("ERR_NEW", "A sentence."), r"A sentence. \(ERR_NEW\)"),
    (Refused("HTTP 503"), r"the relay takes nobody in just now; try again soon \(HTTP 503\)"),
    (
        ConnectFailed("the relay refused the connection: 429 Too Many Requests"),
        r"too much from your address; try again in a minute \(HTTP 429\)",
    ),
    (ConnectFailed("the relay cannot be reached"), "the relay cannot be reached"),
    (ZeroDivisionError("secret"), "unexpected: ZeroDivisionError"),
]


def test_faults_are_one_line_for_people() -> None:
    for fault, words in FAULTS:
        assert re.search(words, sentence(fault))
        assert "secret" not in sentence(fault)


def test_ends_are_told_apart() -> None:
    assert ending("replaced") == "another client has taken your seat"
    assert ending("The room is gone. (ERR_NO_ROOM)").endswith("or no longer (ERR_NO_ROOM)")
    assert ending("closed (1003)") == "closed (1003)"


class Noted(Screen):
    """Keeps the notes."""

    def __init__(self) -> None:
        super().__init__(sys.stdout, sys.stderr)
        self.notes: list[str] = []

    def warn(self, text: str) -> None:
        self.notes.append(text)


def reporter(screen: Screen, downloads: Downloads | None = None) -> Reporter:
    files = Files(screen, downloads, lambda *_: Deferred(), lambda: None)
    return Reporter(screen, People(), files, creates=False)


def test_what_the_relay_says_does_not_pass_for_our_own_words() -> None:
    screen = Noted()
    tell = reporter(screen).told
    for text in (
        "Bob has left the chat",
        "safety words: olive fossil",
        "safety words: " + "olive " * 20 + "has left the chat",
        "x" * 9000,
    ):
        tell(events.Notice(text, "info"))
    assert screen.notes[:2] == [
        "Bob has left the chat",
        "the relay says: safety words: olive fossil",
    ]
    assert screen.notes[2].startswith("the relay says: safety words: olive")
    assert screen.notes[3] == "the relay says: " + "x" * 500


def test_who_uses_a_name_that_another_had_is_marked(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Noted()
    tell = reporter(screen).told
    tell(events.Joined("room", "me", "Ann", 3, 10, False))
    for member_id, name in (
        ("bob1", "Bob"),
        ("eve123", "Eve"),
        ("eve123", "Bob"),
        ("eve123", "Ann"),
        ("eve123", "Bob\x1b"),
        ("bob1", "Bob"),
    ):
        tell(Said("id", member_id, name, "hi", 1, False))
    tell(FileOffered("id", "eve123", "Bob", "a.txt", "text/plain", 4))
    assert capsys.readouterr().out.splitlines() == [
        "Bob: hi",
        "Eve: hi",
        "Bob (eve1): hi",
        "Ann (eve1): hi",
        "Bob\\x1b: hi",
        "Bob: hi",
    ]
    assert screen.notes[-1].startswith("Bob (eve1) sends a.txt")
    people = People()
    long = [people.name_for(member_id, "n" * 500) for member_id in ("bob1", "eve123")]
    assert [name_of(name)[-8:] for name in long] == ["nnnnnnnn", "n (eve1)"]


def test_two_members_files_of_one_id_are_not_mixed_up(tmp_path: Path) -> None:
    screen = Noted()
    tell = reporter(screen, Downloads(tmp_path)).told
    for member_id in ("ann", "eve"):
        tell(FileOffered("id", member_id, member_id, f"{member_id}.txt", "text/plain", 4))
    tell(FileFailed("id", "eve", "eve.txt", "nothing came"))
    tell(FileProgress("id", "ann", 2, 4))
    tell(FileReceived("id", "ann", "ann", "ann.txt", "text/plain", b"text"))
    assert screen.notes[2:] == [
        "eve.txt did not arrive: nothing came",
        "receiving ann.txt: 50 % of 4 bytes",
        f"saved {tmp_path / 'ann.txt'}",
    ]
