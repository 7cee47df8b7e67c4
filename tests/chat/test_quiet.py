"""relay-chat --quiet in shell pipelines: input to room, room to output, and nothing more."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys

from tests.chat.processes import CHAT, LINK, PATIENCE, ROOT, Start, environment
from tests.system.conftest import RelayProcess

CHAT_WORDS = shlex.join(CHAT)


def shell(script: str) -> subprocess.CompletedProcess[str]:
    """Run a pipeline as somebody at a prompt would; its status is that of its last part."""
    return subprocess.run(
        ["/bin/sh", "-c", script],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        env=environment(),
        cwd=ROOT,
        timeout=PATIENCE,
        check=False,
    )


def test_a_pipeline_into_the_room_and_one_out_of_it(relay: RelayProcess, run: Start) -> None:
    ann = run(f"ws://127.0.0.1:{relay.port}/ws", "--name", "Ann")
    link = ann.out.link()
    read_end, write_end = os.pipe()
    head = subprocess.Popen(["head", "-n", "3"], stdin=read_end, stdout=subprocess.PIPE)
    listener = run(
        *("--quiet", "--stay", "--name", "ear", link), stdin=subprocess.DEVNULL, stdout=write_end
    )
    os.close(read_end)
    os.close(write_end)
    ann.notes.next("with the name ear")
    said = shell(
        f"printf 'one\\n/words\\n\\ttwo \\033[2J\\n' | {CHAT_WORDS} --quiet --name log "
        f"{shlex.quote(link)}"
    )
    assert (said.returncode, said.stdout, said.stderr) == (0, "", "")
    ann.notes.next("log has left the chat")
    assert listener.process.poll() is None, "it stays, though it has no input"
    heard, _ = head.communicate(timeout=PATIENCE)
    assert heard == b"log: one\nlog: /words\nlog: \ttwo \\x1b[2J\n"
    ann.type("nobody reads this")
    ann.notes.next("ear has left the chat")
    assert listener.exit_code() == 0, "a broken pipe is no error"
    assert str(listener.notes) == ""


def test_what_goes_in_comes_out_and_nothing_else(relay: RelayProcess, run: Start) -> None:
    ann = run("--quiet", f"ws://127.0.0.1:{relay.port}/ws")
    link = shlex.quote(ann.notes.link())
    # In no list of processes: the link is the first line of the input.
    script = f"printf '%s\\nfirst\\nlast' {link} | {CHAT_WORDS} --quiet --name a -"
    assert shell(script).returncode == 0
    ann.out.next(r"^a: first\na: last\n")
    # One by one these lines would take minutes.
    said = shell(f"(seq 1 3000; echo; echo end) | {CHAT_WORDS} --quiet --name b {link}")
    assert (said.returncode, said.stderr) == (0, "")
    ann.out.next("b: end\n")
    lines = [*map(str, range(1, 3001)), "", "end"]
    assert str(ann.out).splitlines()[2:] == [f"b: {line}" for line in lines]
    # A long line without an end is cut, and whole.
    code = f"{shlex.quote(sys.executable)} -c 'print(chr(252) * 90_001, end=chr(33))'"
    assert shell(f"{code} | {CHAT_WORDS} --quiet --name c {link}").returncode == 0
    ann.out.next("!\n")
    cut = str(ann.out).partition("c: ")[2]
    assert cut.replace("c: ", "").replace("\n", "") == "ü" * 90_001 + "!"
    # Closed streams are no trouble.
    assert shell(f"{CHAT_WORDS} --quiet {link} <&-").returncode == 0
    said = shell(f"echo heard | {CHAT_WORDS} {link} >&- 2>&-")
    assert (said.returncode, said.stdout, said.stderr) == (0, "", "")
    ann.out.next("heard")
    ann.end_input()
    assert ann.exit_code() == 0
    assert LINK.fullmatch(str(ann.notes).strip()), "the link alone, and nobody's coming"
