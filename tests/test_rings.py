"""The imports of the three rings point inwards; the checker is tried on made-up violations."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "twisted_relay"

# The parts of the standard library that open sockets, wait, or run beside the reactor.
OUTSIDE = {
    "asyncio", "concurrent", "ftplib", "http", "imaplib", "multiprocessing", "poplib", "sched",
    "select", "selectors", "signal", "smtplib", "socket", "socketserver", "ssl", "subprocess",
    "threading", "wsgiref", "xmlrpc",
}  # fmt: skip
STANDARD = {name for name in sys.stdlib_module_names if name not in OUTSIDE}

ALLOWED = {
    "core": STANDARD | {"attr", "attrs", "msgspec", "twisted_relay.core"},
    "engine": STANDARD
    | {"attr", "attrs", "cryptography", "msgspec", "prometheus_client", "zope.interface"}
    | {"twisted.logger", "twisted.python"}
    | {f"twisted.internet.{part}" for part in ("defer", "task", "interfaces", "error")}
    | {"twisted_relay.core", "twisted_relay.engine"},
}
FORBIDDEN = {
    "shell": {
        *("twisted_relay.chat", "twisted_relay.client", "twisted_relay.doctor"),
        "twisted_relay.tap",
    },
    "client": {
        *("twisted_relay.engine", "twisted_relay.shell", "twisted_relay.doctor"),
        *("twisted_relay.chat", "twisted_relay.tap"),
    },
    "chat": {
        *("twisted_relay.engine", "twisted_relay.shell", "twisted_relay.doctor"),
        "twisted_relay.tap",
    },
    "doctor": {"twisted_relay.engine", "twisted_relay.shell", "twisted_relay.tap"},
}
# What installs a reactor merely by being imported, or stands for what does.
INSTALLS_REACTOR = {
    "autobahn.twisted", "treq", "twisted.internet.default", "twisted.internet.reactor",
    "twisted_relay.shell", "txredisapi",
}  # fmt: skip


def under(name: str, roots: set[str]) -> bool:
    """Whether ``name`` is one of ``roots`` or lies inside one."""
    return any(name == root or name.startswith(root + ".") for root in roots)


def imported(node: ast.AST, module: str, is_package: bool) -> Iterator[str]:
    """The full names that one statement or call imports; ``from x import y`` counts as ``x.y``."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            parents = module.split(".")
            here = parents[: len(parents) - node.level + is_package]
            base = ".".join([*here, base] if base else here)
        yield from (f"{base}.{alias.name}" for alias in node.names)
    elif isinstance(node, ast.Call):
        called = node.func
        name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
        if name in ("import_module", "__import__", "namedAny", "namedModule", "requireModule"):
            yield f"<{name}>"  # an import that no reader, and no check, can see


def executed_at_import(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node that runs on import: all but functions' bodies and TYPE_CHECKING blocks."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            yield from (n for branch in child.orelse for n in (branch, *executed_at_import(branch)))
            continue
        yield child
        yield from executed_at_import(child)


def violations(source: str, module: str, *, is_package: bool = False) -> list[str]:
    """The imports by which ``module`` breaks its ring's rule, as ``line: name``."""
    tree = ast.parse(source)
    ring = module.split(".")[1] if module.startswith("twisted_relay.") else ""
    found = []
    for node in ast.walk(tree):
        for name in imported(node, module, is_package):
            outward = (ring in ALLOWED and not under(name, ALLOWED[ring])) or (
                ring in FORBIDDEN and under(name, FORBIDDEN[ring])
            )
            if outward and name != "twisted_relay.__version__":
                found.append(f"{getattr(node, 'lineno', 0)}: {name}")
    return found


def early_reactors(source: str, module: str, *, is_package: bool = False) -> list[str]:
    """The imports that would install a reactor while ``module`` is being imported."""
    return [
        f"{getattr(node, 'lineno', 0)}: {name}"
        for node in executed_at_import(ast.parse(source))
        for name in imported(node, module, is_package)
        if under(name, INSTALLS_REACTOR) or name.startswith("<")
    ]


def modules(folder: Path) -> list[tuple[str, Path]]:
    """(dotted name, file) of every module below ``folder``."""
    found = []
    for file in sorted(folder.rglob("*.py")):
        parts = file.relative_to(ROOT).with_suffix("").parts
        found.append((".".join(parts[:-1] if parts[-1] == "__init__" else parts), file))
    return found


OURS = modules(PACKAGE)


@pytest.mark.parametrize(("module", "file"), OURS, ids=[name for name, _ in OURS])
def test_imports_point_inwards_only(module: str, file: Path) -> None:
    assert violations(file.read_text(), module, is_package=file.name == "__init__.py") == []


@pytest.mark.parametrize(("module", "file"), OURS, ids=[name for name, _ in OURS])
def test_every_module_says_what_it_is(module: str, file: Path) -> None:
    assert ast.get_docstring(ast.parse(file.read_text())), f"{module} has no docstring"


@pytest.mark.parametrize("file", [PACKAGE / "tap.py", ROOT / "twisted/plugins/twisted_relay.py"])
def test_options_and_plugin_leave_the_choice_of_reactor_open(file: Path) -> None:
    assert early_reactors(file.read_text(), f"twisted_relay.{file.stem}") == []


@pytest.mark.parametrize("module", ["twisted.plugins.twisted_relay", "twisted_relay.tap"])
def test_no_reactor_is_installed_by_importing(module: str) -> None:
    code = f"import sys, {module}; sys.exit('twisted.internet.reactor' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=60)


def test_inner_rings_install_no_reactor_either() -> None:
    inner = ("twisted_relay.core", "twisted_relay.engine")
    names = [name for name, _ in OURS if name.startswith(inner)]
    code = f"import sys, {', '.join(names)}; sys.exit('twisted.internet.reactor' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=60)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("twisted_relay.core.x", "from twisted.internet import defer"),
        ("twisted_relay.core.x", "import zope.interface"),
        ("twisted_relay.core.x", "import socket"),
        ("twisted_relay.core.x", "def f():\n    import asyncio"),
        ("twisted_relay.core.x", "from ..engine import relay"),
        ("twisted_relay.core.x", "from twisted_relay import engine"),
        ("twisted_relay.core.x", "import importlib\nimportlib.import_module('twisted')"),
        ("twisted_relay.engine.x", "from twisted.internet import reactor"),
        ("twisted_relay.engine.x", "def f():\n    from twisted.internet import reactor"),
        ("twisted_relay.engine.x", "import twisted.internet.endpoints"),
        ("twisted_relay.engine.x", "from twisted.web.resource import Resource"),
        ("twisted_relay.engine.x", "from autobahn.twisted import websocket"),
        ("twisted_relay.engine.x", "from ..shell.service import build"),
        ("twisted_relay.engine.x", "import socket as s"),
        ("twisted_relay.shell.x", "from twisted_relay.client import chat"),
        ("twisted_relay.client.x", "from ..engine.relay import Relay"),
        ("twisted_relay.client.x", "import twisted_relay.shell.service"),
        ("twisted_relay.client.x", "from ..chat.main import main"),
        ("twisted_relay.chat.x", "from ..engine.relay import Relay"),
        ("twisted_relay.shell.x", "from ..chat import qr"),
        ("twisted_relay.doctor.x", "from twisted_relay.engine.health import health"),
        ("twisted_relay.doctor.x", "from twisted_relay.shell import memory"),
    ],
)
def test_the_checker_sees_a_violation(module: str, source: str) -> None:
    assert violations(source, module)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("twisted_relay.core.x", "import json, attrs, msgspec\nfrom .errors import Code"),
        (
            "twisted_relay.engine.x",
            "from twisted.internet import defer, task\nfrom ..core import w",
        ),
        ("twisted_relay.engine.x", "from twisted.internet.interfaces import IReactorTime"),
        ("twisted_relay.shell.x", "from twisted.internet import reactor\nfrom ..engine import r"),
        ("twisted_relay.client.x", "import autobahn, cryptography\nfrom ..core import wire"),
        ("twisted_relay.doctor.x", "import hiredis, OpenSSL\nfrom ..core import settings"),
    ],
)
def test_the_checker_lets_inward_imports_pass(module: str, source: str) -> None:
    assert violations(source, module) == []


@pytest.mark.parametrize(
    ("source", "early"),
    [
        ("from twisted.internet import reactor", True),
        ("try:\n    import txredisapi\nexcept ImportError:\n    pass", True),
        ("class Options:\n    from .shell import service", True),
        ("from autobahn.twisted.resource import WebSocketResource", True),
        ("def make():\n    from twisted.internet import reactor", False),
        ("if TYPE_CHECKING:\n    from .shell.service import Root", False),
        ("from twisted.python import usage", False),
    ],
)
def test_the_checker_tells_early_reactors_from_lazy_ones(source: str, early: bool) -> None:
    assert bool(early_reactors(source, "twisted_relay.tap")) is early
