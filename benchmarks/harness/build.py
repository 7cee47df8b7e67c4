"""The generator and the floor from C, the peers from the npm registry."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from benchmarks.harness.paths import BENCHMARKS, BUILD, CannotRun

NATIVE = BENCHMARKS / "native"
PEERS = BUILD / "peers"
FLAGS = ("-std=c11", "-O2", "-Wall", "-Wextra", "-Werror")
COMMON = ("digest.c", "frames.c")
PROGRAMS = {
    "load": (
        "load.c", "dialogue.c", "client.c", "channel.c", "options.c", "ledger.c", "histogram.c",
        "usage.c", *COMMON,
    ),
    "floor": ("floor.c", *COMMON),
}  # fmt: skip


def compiler() -> str:
    """The C compiler. Raises CannotRun."""
    found = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if found is None:
        raise CannotRun("a C compiler is needed (on Debian: apt-get install gcc libc6-dev)")
    return found


def _run(command: list[str], where: Path, what: str) -> None:
    done = subprocess.run(
        command, cwd=where, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode != 0:
        raise CannotRun(f"{what} failed:\n{done.stdout}")


def _is_older(made: Path, sources: list[Path]) -> bool:
    if not made.exists():
        return True
    return any(source.stat().st_mtime > made.stat().st_mtime for source in sources)


def compile_program(name: str, tls: bool = False) -> Path:
    """Build `load` or `floor`, if a source is newer; returns its path. Raises CannotRun.

    With `tls` the generator is linked with OpenSSL, whose headers must be there.
    """
    BUILD.mkdir(parents=True, exist_ok=True)
    program = BUILD / (f"{name}-tls" if tls else name)
    sources = [NATIVE / source for source in PROGRAMS[name]]
    if _is_older(program, [*sources, *NATIVE.glob("*.h")]):
        extra = ["-DWITH_TLS"] if tls else []
        libraries = ["-lssl", "-lcrypto"] if tls else []
        command = [compiler(), *FLAGS, *extra, "-o", str(program), *map(str, sources), *libraries]
        what = f"compiling {name}" + (" (it needs OpenSSL's headers, libssl-dev)" if tls else "")
        _run(command, BUILD, what)
    return program


def install_peers() -> Path:
    """Copy the peers and install their packages as the lock file says; returns their folder.

    Raises:
        CannotRun: without Node.js 20 or npm, or where the registry cannot be reached.
    """
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            raise CannotRun(
                f"the peers need Node.js 20 or newer with npm; there is no {program} "
                "(--servers ours,floor,floor-corked does without)"
            )
    version = subprocess.run(["node", "--version"], capture_output=True, text=True).stdout.strip()
    if int(version.removeprefix("v").partition(".")[0] or 0) < 20:
        raise CannotRun(f"the peers need Node.js 20 or newer; this is {version or 'unknown'}")
    PEERS.mkdir(parents=True, exist_ok=True)
    for source in (BENCHMARKS / "peers").iterdir():
        if source.is_file():
            shutil.copy2(source, PEERS / source.name)
    stamp = PEERS / "node_modules" / ".installed"
    if _is_older(stamp, [PEERS / "package.json", PEERS / "package-lock.json"]):
        _run(["npm", "ci", "--loglevel=error"], PEERS, "npm ci")
        stamp.touch()
    return PEERS
