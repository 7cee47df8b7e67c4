"""The distribution as a stranger meets it: built, installed into an empty environment, removed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest

ROOT = Path(__file__).parent.parent.parent
LOWEST = Path(__file__).parent / "lowest.txt"
PLUGIN = "twisted/plugins/twisted_relay.py"
MADE = shutil.ignore_patterns(
    ".git", ".venv*", ".tox", "build", "dist", "*.egg-info", "__pycache__", "*.pyc", ".*_cache",
    ".hypothesis", "dropin.cache", ".env", "twistd.*",
)  # fmt: skip

pytestmark = [pytest.mark.package, pytest.mark.timeout(600)]


def run(*command: str | Path, cwd: Path) -> str:
    """Run a program outside this tree's influence; its output, or the test fails showing it."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "COV_", "VIRTUAL"))}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout}"
    return done.stdout


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean copy of the sources, so that no build is helped by what lies about in the tree."""
    return shutil.copytree(ROOT, tmp_path_factory.mktemp("tree") / "relay", ignore=MADE)


@attrs.frozen
class Built:
    """The two files that would be published."""

    sdist: Path
    wheel: Path


@pytest.fixture(scope="module")
def built(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The sdist, and the wheel built from that sdist: what the sdist lacks, the wheel lacks."""
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, tree, cwd=out)
    (sdist,) = out.glob("*.tar.gz")
    (wheel,) = out.glob("*.whl")
    return Built(sdist, wheel)


def test_the_sdist_holds_all_sources(tree: Path, built: Built) -> None:
    with tarfile.open(built.sdist) as archive:
        packed = {"/".join(name.split("/")[1:]) for name in archive.getnames()}
    sources = {str(file.relative_to(tree)) for file in tree.rglob("*") if file.is_file()}
    sources = {name for name in sources if not name.startswith((".git/", "build/", "dist/"))}
    assert {name for name in sources if ".egg-info/" not in name} - packed == set()
    assert not [name for name in packed if name.endswith((".pyc", "dropin.cache"))]
    for name in ("tests/test_rings.py", "tox.ini", "Makefile", "LICENSE", "README.md", PLUGIN):
        assert name in packed


def test_the_wheel_holds_our_packages_and_one_file_of_twisteds(tree: Path, built: Built) -> None:
    with zipfile.ZipFile(built.wheel) as archive:
        names = set(archive.namelist())
    package = tree / "twisted_relay"
    ours = {
        str(file.relative_to(tree)) for kind in ("py", "lua") for file in package.rglob(f"*.{kind}")
    }
    ours |= {str(file.relative_to(tree)) for file in (package / "web").iterdir()}
    assert {"twisted_relay/shell/lua/join.lua", "twisted_relay/web/index.html"} < ours
    shipped = {name for name in names if ".dist-info/" not in name}
    assert shipped == ours | {"twisted_relay/py.typed", PLUGIN}
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of a virtual environment with nothing in it but pip."""
    where = tmp_path_factory.mktemp("empty") / "env"
    run(sys.executable, "-m", "venv", where, cwd=where.parent)
    return where / "bin"


@pytest.fixture(scope="module")
def listed(empty: Path) -> Callable[[], set[str]]:
    """Asks which of the two starters list ``relay``."""

    def ask() -> set[str]:
        found = set()
        for starter in ("twistd", "twist"):
            text = run(empty / starter, "--help", cwd=empty)
            assert "Traceback" not in text
            assert re.search(r"(?m)^\s+web\b", text), "Twisted's own plugins are gone"
            if re.search(r"(?m)^\s+relay\b", text):
                found.add(starter)
        return found

    return ask


@pytest.fixture(scope="module")
def plugins(empty: Path) -> Callable[[], set[str]]:
    """Asks which files lie in the environment's twisted/plugins."""

    def ask() -> set[str]:
        code = "import sysconfig; print(sysconfig.get_path('purelib'))"
        site = Path(run(empty / "python", "-c", code, cwd=empty).strip())
        return {file.name for file in (site / "twisted/plugins").iterdir() if file.is_file()}

    return ask


def served(empty: Path) -> set[str]:
    """The files of the web client that the relay in this environment would serve."""
    code = "from twisted_relay.shell.page import *; print(*read_page(page_folder()))"
    return set(run(empty / "python", "-c", code, cwd=empty).split())


def test_wheel_and_editable_install_list_the_plugin_and_leave_twisted_whole(
    tree: Path,
    built: Built,
    empty: Path,
    listed: Callable[[], set[str]],
    plugins: Callable[[], set[str]],
) -> None:
    both = {"twistd", "twist"}
    page = {file.name for file in (tree / "twisted_relay/web").iterdir()}
    pip = (empty / "python", "-m", "pip")

    run(*pip, "install", "--quiet", built.wheel, cwd=empty)
    run(*pip, "check", cwd=empty)
    assert listed() == both
    assert "relay-chat" in run(empty / "relay-chat", "--help", cwd=empty)
    assert "relay-doctor" in run(empty / "relay-doctor", "--help", cwd=empty)
    assert "Usage: twistd" in run(empty / "twistd", "relay", "--help", cwd=empty)
    shared = ("relay", "--check", "-e", "reuseport:3001")
    assert "endpoint: reuseport:3001" in run(empty / "twistd", *shared, cwd=empty)
    assert served(empty) == page
    assert "twisted_relay.py" in plugins()

    run(*pip, "uninstall", "--quiet", "--yes", "twisted-relay", cwd=empty)
    assert listed() == set()
    assert "twisted_relay.py" not in plugins()
    run(*pip, "check", cwd=empty)

    run(*pip, "install", "--quiet", "--editable", tree, cwd=empty)
    assert listed() == both
    assert "Usage: twistd" in run(empty / "twistd", "relay", "--help", cwd=empty)
    leftovers = {file.relative_to(tree).parts[0] for file in tree.rglob("dropin.cache")}
    assert leftovers <= {"build"}, "the source tree is not the place for Twisted's cache"
    assert served(empty) == page

    run(*pip, "uninstall", "--quiet", "--yes", "twisted-relay", cwd=empty)
    assert listed() == set()


def test_the_lowest_dependencies_are_those_that_setup_py_names(built: Built) -> None:
    with zipfile.ZipFile(built.wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        metadata = archive.read(name).decode()
    required = re.findall(r"(?m)^Requires-Dist: ([\w.-]+)(?:\[\w+\])?>=([\w.]+)\s*$", metadata)
    pinned = re.findall(r"(?m)^([\w.-]+)==([\w.]+)$", LOWEST.read_text())
    assert dict(required) == dict(pinned)
    assert "Requires-Python: >=3.11" in metadata
