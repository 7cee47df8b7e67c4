"""The page's modules, each alone in a real browser; for the tests that import this fixture."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest


class Modules:
    """Runs a few lines that import the page's modules; what they return comes back."""

    def __init__(self, page: Any) -> None:
        self._page = page

    def run(self, lines: str, **given: Any) -> Any:
        names = ", ".join(given)
        return self._page.evaluate(f"async ({{ {names} }}) => {{ {lines} }}", given)


@pytest.fixture(name="modules", scope="module")
def page_modules(browser: Any, common_relay: Any) -> Iterator[Modules]:
    context = browser.new_context()
    page = context.new_page()
    # An address with no page on it, so that nothing but the modules under test runs there.
    page.goto(f"http://127.0.0.1:{common_relay.port}/icon.svg")
    yield Modules(page)
    context.close()
