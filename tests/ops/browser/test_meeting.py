"""Browsers, terminals and clients of the old service meet in one room."""

from __future__ import annotations

import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import expect

from tests.ops.browser.conftest import make_png, noise
from tests.ops.browser.old_client import OldClient
from tests.system.conftest import poll

pytestmark = pytest.mark.timeout(90)


def parts_of(link: str) -> dict[str, str]:
    """What a link holds."""
    return {name: values[0] for name, values in parse_qs(urlsplit(link).fragment).items()}


def test_two_tabs_and_a_terminal_talk(browse, terminal):
    people = browse()
    ada = people.person().create("Ada")
    ben = people.person().join(ada.link, "Ben")
    ada.notes("Ben")
    cleo = terminal("--name", "Cleo", "--no-qr", ada.link)
    cleo.notes("you are Cleo")
    for tab in (ada, ben):
        tab.counts(3)

    ada.say("one, from Ada")
    ben.hears("one, from Ada", "Ada")
    cleo.hears("Ada: one, from Ada")
    cleo.type("two, from Cleo")
    for tab in (ada, ben):
        tab.hears("two, from Cleo", "Cleo")
    ben.say("three, from Ben ✨ <b>not bold</b>")
    ada.hears("three, from Ben ✨ <b>not bold</b>", "Ben")
    cleo.hears("Ben: three, from Ben ✨ <b>not bold</b>")
    ben.sent("three")
    order = ["one, from Ada", "two, from Cleo", "three, from Ben ✨ <b>not bold</b>"]
    assert ada.said == ben.said == order

    assert len(ada.words) == 8
    assert ada.words == ben.words
    cleo.type("/words")
    cleo.notes(" ".join(ada.words))

    cleo.type("/quit")
    for tab in (ada, ben):
        tab.notes("Cleo")
        tab.counts(2)
    ben.leave()
    ada.notes("Ben")
    ada.counts(1)


def test_those_who_talk_at_the_same_time_read_one_order(browse, terminal):
    people = browse()
    ada = people.person().create("Ada")
    ben = people.person().join(ada.link, "Ben")
    cleo = terminal("--name", "Cleo", "--no-qr", ada.link)
    cleo.notes("you are Cleo")
    ada.counts(3)
    for number in range(10):
        cleo.type(f"C{number}")
        ben.say(f"B{number}")
        ada.say(f"A{number}")
    for tab in (ada, ben):
        expect(tab.log.locator(".text")).to_have_count(30)
        expect(tab.log.locator(".state").filter(has_text="sending")).to_have_count(0)
    assert ada.said == ben.said
    heard = [cleo.hears(": ").split(": ")[1] for _ in range(20)]
    assert heard == [text for text in ada.said if not text.startswith("C")]


def test_a_picture_goes_from_each_to_each(browse, terminal, tmp_path):
    people = browse()
    ada = people.person().create("Ada")
    ben = people.person().join(ada.link, "Ben")
    kept = tmp_path / "kept"
    kept.mkdir()
    cleo = terminal("--name", "Cleo", "--no-qr", "--downloads", str(kept), ada.link)
    cleo.notes("you are Cleo")

    small, large = make_png(200, 120), make_png(280, 240, noise)
    assert len(small) < 64 * 1024 < 196 * 1024 < len(large), "one frame, and several"
    for count, picture in enumerate((small, large), 1):
        ada.attach({"name": f"{count}.png", "mimeType": "image/png", "buffer": picture})
        expect(ben.log.get_by_role("img", name="Picture from Ada")).to_have_count(count)
        assert ben.sees("Picture from Ada") == [200, 280][:count]
        poll(lambda picture=picture: picture in contents(kept), "the picture in the folder")
    mine = tmp_path / "from-the-terminal.png"
    mine.write_bytes(large)
    cleo.type(f"/send {mine}")
    for tab in (ada, ben):
        assert tab.sees("Picture from Cleo: from-the-terminal.png") == [280]
        assert tab.saved("from-the-terminal.png") == large


def contents(folder: Path) -> list[bytes]:
    return [each.read_bytes() for each in folder.iterdir()]


def test_a_file_that_is_no_picture_is_saved_and_never_shown(browse, terminal, tmp_path):
    people = browse()
    ada = people.person().create("Ada")
    ben = people.person().join(ada.link, "Ben")
    page = b"<script>document.title = 'run'</script>" * 100
    for name, kind in (("page.html", "text/html"), ("drawing.svg", "image/svg+xml")):
        ada.attach({"name": name, "mimeType": kind, "buffer": page})
        assert ben.saved(name) == page
    lie = {"name": "no.png", "mimeType": "image/png", "buffer": page}
    ada.attach(lie)
    assert ben.saved("no.png") == page
    expect(ben.log.get_by_role("img")).to_have_count(0)


def test_a_client_of_the_old_service_takes_part(browse):
    people = browse()
    ada = people.person().create("Ada")
    link = parts_of(ada.link)
    old = OldClient(people.relay, link["roomId"], link["k"], "Olga")
    ada.notes("Olga")
    old.say("of old <img src=x onerror=alert(1)>")
    ada.hears("of old <img src=x onerror=alert(1)>", "Olga")
    picture = make_png(200, 120)
    old.show(picture, "image/png")
    assert ada.sees("Picture from Olga") == [200]

    ada.say("and of now")
    heard = old.hears()
    assert (heard["type"], heard["from"], heard["text"]) == ("text", "Ada", "and of now")
    assert heard["id"]
    assert abs(heard["ts"] - time.time() * 1000) < 60_000
    ada.attach({"name": "mine.png", "mimeType": "image/png", "buffer": picture})
    assert old.sees() == ("image/png", picture)


def test_neither_key_nor_room_reach_the_relay_by_a_url_or_its_log(browse):
    people = browse(LOG_REQUESTS="true", LOG_LEVEL="trace")
    ada = people.person().create("Ada")
    link = parts_of(ada.link)
    ben = people.person().join(ada.link, "Ben")
    ada.say("a secret word")
    ben.hears("a secret word")
    asked = [url for url in people.watch.asked if not url.startswith("blob:")]
    assert any(url.endswith("/style.css") for url in asked)
    assert not any(link["k"] in url or "#" in url for url in asked)
    for private in (link["k"], link["roomId"], "secret word", "Ada", "Ben"):
        assert private not in people.relay.log
