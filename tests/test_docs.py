"""The documents keep up with the code: links resolve, and nothing that exists goes unmentioned."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from twisted_relay.core.errors import Close, Code
from twisted_relay.core.wire import CLIENT_TYPES
from twisted_relay.engine.metrics import SENT_TYPES

ROOT = Path(__file__).parents[1]
PAGES = sorted((*ROOT.glob("*.md"), *(ROOT / "docs").glob("**/*.md"), ROOT / "etc/README.md"))
API = (ROOT / "docs/api.md").read_text(encoding="utf-8")
ARCHITECTURE = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")

_FENCED = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} +(.+)$", re.MULTILINE)


def prose(page: Path) -> str:
    """The page without its code blocks."""
    return _FENCED.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """What can follow ``#`` in a link to the page, by GitHub's rule."""
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in _HEADING.findall(prose(page))
    }


def dependencies() -> list[str]:
    """The name of every requirement in setup.py, with its extra, as it is written there."""
    tree = ast.parse((ROOT / "setup.py").read_text(encoding="utf-8"))
    found: list[str] = []
    for keyword in (node for node in ast.walk(tree) if isinstance(node, ast.keyword)):
        if keyword.arg in ("install_requires", "extras_require"):
            value = ast.literal_eval(keyword.value)
            for names in value.values() if isinstance(value, dict) else [value]:
                found += [re.split(r"[<>=~!; ]", name, maxsplit=1)[0] for name in names]
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_resolve(page: Path) -> None:
    for target in _LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), f"{target} leads nowhere"
        if anchor:
            assert anchor in anchors(linked), f"{target}: no such heading"


@pytest.mark.parametrize("code", [code.value for code in Code])
def test_each_error_code_has_its_row(code: str) -> None:
    assert re.search(rf"^\| `{code}` \| (yes|no) \|", API, re.MULTILINE)


def test_error_rows_agree_on_retry() -> None:
    from twisted_relay.core.errors import RelayError

    rows = dict(re.findall(r"^\| `(ERR_\w+)` \| (yes|no) \|", API, re.MULTILINE))
    assert rows == {code.value: "yes" if RelayError(code).retryable else "no" for code in Code}


@pytest.mark.parametrize("close", list(Close), ids=lambda close: close.name)
def test_each_close_has_its_row(close: Close) -> None:
    assert f"| {close.code} | `{close.reason}` |" in API


@pytest.mark.parametrize("kind", sorted({*CLIENT_TYPES, *SENT_TYPES}))
def test_each_frame_type_has_its_rows(kind: str) -> None:
    rows = len(re.findall(rf"^\| `{kind}` \|", API, re.MULTILINE))
    assert rows == (kind in CLIENT_TYPES) + (kind in SENT_TYPES)


@pytest.mark.parametrize(
    "module",
    sorted(
        str(path.relative_to(ROOT / "twisted_relay"))
        for path in (ROOT / "twisted_relay").glob("**/*.py")
        # An empty package marker holds nothing to speak of.
        if path.name != "__init__.py" or path.parent.name == "twisted_relay"
    ),
)
def test_each_module_is_in_the_architecture(module: str) -> None:
    assert f"| `{module}` |" in ARCHITECTURE


def test_the_architecture_names_no_module_that_is_gone() -> None:
    named = re.findall(r"^\| `([\w/]+\.py)` \|", ARCHITECTURE, re.MULTILINE)
    assert [name for name in named if not (ROOT / "twisted_relay" / name).exists()] == []


@pytest.mark.parametrize("name", dependencies())
def test_each_dependency_has_its_reason(name: str) -> None:
    assert re.search(rf"^\| [^|]*`{re.escape(name)}`[^|]* \|", ARCHITECTURE, re.MULTILINE)


def test_each_picture_is_shown_and_small() -> None:
    pictures = list((ROOT / "docs/images").iterdir())
    assert pictures
    pages = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    for picture in pictures:
        assert f"images/{picture.name}" in pages
        assert picture.stat().st_size < 150_000, "what is in the repository is cloned by everybody"
