"""What all tests here rely on: a page that does what it must not is found out, and cannot do it."""

from __future__ import annotations

import pytest

from tests.system.conftest import poll

pytestmark = pytest.mark.timeout(90)
ATTEMPTS = {
    "fetch('http://other.example/').catch(() => 0)": "connect-src refused http://other.example/",
    "document.body.append(Object.assign(new Image(), {src: 'http://other.example/'}))": "img-src",
    "document.body.insertAdjacentHTML('beforeend', '<b>bold</b>')": "require-trusted-types-for",
    "document.body.setAttribute('style', 'color: red')": "style-src",
    "setTimeout(() => { throw new Error('oops') })": "exception: oops",
    "console.error('oops')": "console: oops",
    "navigator.sendBeacon('http://other.example/')": "connect-src",
    "new WebSocket('ws://other.example/')": "connect-src",
}


def test_what_a_page_must_not_do_is_found_out(browse):
    people = browse()
    page = people.person().open(f"{people.base}/").page
    faults = people.watch.faults
    for attempt, found in ATTEMPTS.items():
        page.evaluate(f"() => {{ try {{ {attempt} }} catch {{ }} }}")

        def seen(found: str = found) -> bool:
            page.wait_for_timeout(10)
            return any(found in fault for fault in faults)

        poll(seen, f"{found!r} among {faults}")
        faults.clear()
    page.goto("data:text/plain,hello")
    page.evaluate("fetch('http://other.example/').catch(() => 0)")
    poll(lambda: page.wait_for_timeout(10) or faults, "a request to another host")
    assert "asked another host: other.example" in faults
    faults.clear()
