"""The shell commands of the pages for operators, and what the pages say that they print.

A fence marked ``sh`` holds commands, one a line. A fence marked ``text`` under it is what its one
command prints when all is well; ``text bad`` is what it prints in the trouble that the chapter is
about. There, ``...`` stands for anything, in a line or for lines. Zero is zero; any other number
stands for any number but zero. An HTTP status that stands alone is itself.
"""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("docs/runbook.md", "DEPLOYMENT.md", "docs/incident-response.md")
#: What a command in the midst of a text begins with. A name alone is none.
PROGRAMS = (
    *("curl", "docker", "journalctl", "ln", "netstat", "ping", "pm2", "promtool", "python3"),
    *("redis-cli", "relay-chat", "relay-doctor", "systemctl", "twistd"),
)
#: These are not on every machine: commands with one of them run in tests/ops.
TOOLS = ("curl", "jq", "netstat", "redis-cli")

_FENCE = re.compile(r"^```(.*)$")
_TOKEN = re.compile(
    r"(\.\.\."
    r"|\d{4}-\d\d-\d\dT[\d:.]+Z"
    r"|(?<![\w.])\d+(?:\.\d+){2,}"
    r"|(?<![\w.])\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)"
)
_NUMBER = r"\d+(?:\.\d+)?(?:[eE][+-]?\d+)?"


@dataclasses.dataclass
class Command:
    """One command of a page."""

    page: str
    chapter: str
    text: str
    fenced: bool
    prints: dict[str, str] = dataclasses.field(default_factory=dict)
    """What the page says that it prints, by the kind of fence: ``text``, ``text bad``."""

    @property
    def tools(self) -> set[str]:
        """Which of `TOOLS` it needs."""
        return {tool for tool in TOOLS if re.search(rf"(?<![\w/-]){tool}(?![\w-])", self.text)}


def read(page: str) -> list[Command]:
    """The commands of a page, in their order."""
    found: list[Command] = []
    chapter, kind, block = "", None, []
    last: list[Command] = []
    for line in (ROOT / page).read_text(encoding="utf-8").splitlines():
        fence = _FENCE.match(line)
        if fence and kind is None:
            kind, block = fence.group(1), []
        elif fence:
            if kind in ("sh", "bash"):
                last = [Command(page, chapter, text, True) for text in block if text]
                found += last
            elif kind is not None and kind.startswith("text"):
                assert len(last) == 1, f"{page}, {chapter}: whose output is this? {block}"
                assert kind not in last[0].prints, f"{page}, {chapter}: twice the same: {block}"
                last[0].prints[kind] = "\n".join(block)
            kind = None
        elif kind is not None:
            block.append(line)
        elif line.startswith("#"):
            chapter = line.lstrip("# ")
        else:
            inline = re.findall(r"`([^`]+)`", line)
            spoken = [text.replace("\\|", "|") for text in inline if _is_command(text)]
            found += [Command(page, chapter, text, False) for text in spoken]
    return found


def _is_command(text: str) -> bool:
    words = [word for word in text.split() if not re.match(r"[A-Z_]+=", word)]
    return len(words) > 1 and words[0] in PROGRAMS


def all_commands() -> list[Command]:
    """Those of all pages."""
    return [command for page in PAGES for command in read(page)]


def queries(page: str = PAGES[0]) -> list[str]:
    """The queries for Prometheus of a page, one a line."""
    text = (ROOT / page).read_text(encoding="utf-8")
    blocks = re.findall(r"(?ms)^```promql\n(.*?)^```$", text)
    return [line for block in blocks for line in block.splitlines()]


def chapter(title: str, page: str = PAGES[0]) -> str:
    """The text under a heading, up to the next of its level or above."""
    lines = (ROOT / page).read_text(encoding="utf-8").splitlines()
    (start,) = [n for n, line in enumerate(lines) if re.fullmatch(rf"#+ {title}", line)]
    level = len(lines[start].split(" ")[0])
    found = []
    for line in lines[start + 1 :]:
        if re.match(rf"#{{1,{level}}} ", line):
            break
        found.append(line)
    return "\n".join(found)


def pattern(expected: str) -> re.Pattern[str]:
    """What an output must look like to be the one that a page shows."""
    lines = []
    for line in expected.splitlines():
        if line == "...":
            lines.append(r"(?:.*\n)*?")
            continue
        parts = _TOKEN.split(line)
        is_status = re.fullmatch(r"[1-5]\d\d", line) is not None
        lines.append("".join(re.escape(p) if is_status else _part(p) for p in parts) + r"\n")
    return re.compile("".join(lines))


def _part(part: str) -> str:
    if part == "...":
        return ".*"
    if not _TOKEN.fullmatch(part):
        return re.escape(part)
    if "T" in part:
        return r"[\d:.TZ-]+"
    if part.count(".") > 1:
        return r"[\d.]+"
    if float(part) == 0:
        return r"0(?:\.0+)?"
    return rf"(?=[\d.]*[1-9]){_NUMBER}"


def run(
    command: Command, folder: Path, ports: Mapping[str, int], kind: str = "text"
) -> subprocess.CompletedProcess[str]:
    """Paste it into a shell in ``folder``, with other ports, and compare what it prints.

    ``logs`` is there, as the runbook defines it for a relay whose output goes to files. Raises
    AssertionError.
    """
    text = command.text
    for port, other in ports.items():
        text = re.sub(rf"(?<![\d.]){port}(?!\d)", str(other), text)
    done = subprocess.run(
        ["/bin/sh", "-c", f"{logs_of_files()}\n{text}"],
        cwd=folder,
        env=environment(folder),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    told = f"{command.page}, {command.chapter}:\n$ {command.text}\n{done.stdout}{done.stderr}"
    expected = command.prints.get(kind, "")
    # grep that finds nothing says so by 1.
    fine = (0, 1) if "grep" in text and not done.stdout else (0,)
    assert done.returncode in fine, f"exit status {done.returncode} of {told}"
    assert done.stderr == "", told
    printed = done.stdout.replace("\r", "")
    printed += "" if printed.endswith("\n") or not printed else "\n"
    assert pattern(expected).fullmatch(printed), f"the page shows\n{expected}\nand not, of {told}"
    return done


def logs_of_files() -> str:
    """The runbook's definition of ``logs`` for files."""
    (found,) = [c.text for c in read(PAGES[0]) if c.text.startswith("logs() { cat ")]
    return found


def environment(folder: Path) -> dict[str, str]:
    """An operator's shell: what is installed with the relay is on its PATH."""
    programs = folder / "bin"
    if not programs.exists():
        programs.mkdir()
        for name, place in entry_points().items():
            module, function = place.split(":")
            (programs / name).write_text(
                f"#!{sys.executable}\nimport sys\nfrom {module} import {function}\n"
                f"sys.argv[0] = {name!r}\nsys.exit({function}())\n"
            )
            (programs / name).chmod(0o755)
    places = (programs, Path(sys.executable).parent, os.environ["PATH"], "/usr/sbin")
    return {
        "PATH": os.pathsep.join(map(str, places)),
        "HOME": str(folder),
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        "LC_ALL": "C",
    }


def entry_points() -> dict[str, str]:
    """The programs that the package installs, and twistd."""
    described = (ROOT / "setup.py").read_text(encoding="utf-8")
    found = dict(re.findall(r'"([\w-]+)=([\w.]+:\w+)"', described))
    return found | {"twistd": "twisted.scripts.twistd:run"}
