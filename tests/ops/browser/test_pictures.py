"""The pictures of the README: made here, so that they show what there is.

They lie in build/screenshots afterwards; ``make pictures`` puts them into docs/images as well.
"""

from __future__ import annotations

import math
import os
import shutil

import pytest

from tests.ops.browser.conftest import ROOT, SHOTS, make_png

pytestmark = pytest.mark.timeout(90)
KEPT = ROOT / "docs/images"
LARGEST = 150_000
"""Bytes: what is in the repository is cloned by everybody."""


def evening(x: float, y: float) -> tuple[int, int, int]:
    """The colour at a place of a picture, each from 0 to 1: hills, and the sun above them."""
    if y > 0.82 + 0.08 * math.sin(5 * x + 1):
        return 38, 52, 70
    if y > 0.7 + 0.1 * math.sin(4 * x + 4):
        return 74, 86, 116
    if math.hypot(x - 0.7, (y - 0.55) * 0.56) < 0.09:
        return 255, 226, 150
    return int(90 + 165 * y), int(110 + 60 * y), int(190 - 90 * y)


def test_the_pictures_of_the_readme(browse):
    people = browse()
    ada = people.person(viewport={"width": 1100, "height": 780}).create("Ada")
    ben = people.person().join(ada.link, "Ben")
    ada.notes("Ben came in")
    phone = {"viewport": {"width": 375, "height": 760}, "device_scale_factor": 2}
    cleo = people.person(color_scheme="dark", has_touch=True, is_mobile=True, **phone)
    cleo.join(ada.link, "Cleo")
    for tab in (ada, ben):
        tab.notes("Cleo came in")
    for speaker, text in (
        (ben, "Is it still the train at 9:40?"),
        (ada, "Yes, platform 3. Cleo, will you make it?"),
        (cleo, "I am on the bridge already. Look at this!"),
    ):
        speaker.say(text)
        for tab in (ada, ben, cleo):
            tab.hears(text)
    cleo.attach(
        {"name": "hills.png", "mimeType": "image/png", "buffer": make_png(360, 200, evening)}
    )
    for tab in (ada, ben, cleo):
        assert tab.sees("Picture from") == [360]
    ada.say("Lovely. See you both at the station.")
    for tab in (ben, cleo):
        tab.hears("Lovely. See you both at the station.", "Ada")
    ada.sent("Lovely")
    SHOTS.mkdir(parents=True, exist_ok=True)
    for tab, name in ((ada, "web-client.png"), (cleo, "web-client-phone.png")):
        tab.page.screenshot(path=SHOTS / name)
        assert (SHOTS / name).stat().st_size < LARGEST
        if os.environ.get("PICTURES") == "write":
            KEPT.mkdir(exist_ok=True)
            shutil.copy(SHOTS / name, KEPT / name)
