"""Reloads, restarts, duplicates, and links that lead nowhere: what the page makes of them."""

from __future__ import annotations

import time
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import expect

from tests.ops.browser.tab import Tab
from tests.system.conftest import RelayProcess, b64url, mint

pytestmark = pytest.mark.timeout(90)
LOST = "WebSocket connection to"
NOT_THERE = "status of 404"
AWAY = 40.0


def room_of(link: str) -> str:
    return parse_qs(urlsplit(link).fragment)["roomId"][0]


def key_of(link: str) -> str:
    return parse_qs(urlsplit(link).fragment)["k"][0]


def test_a_reload_takes_the_seat_back(browse):
    people = browse(ROOM_MAX_PARTICIPANTS="2")
    ada = people.person().create("Ada")
    ben = people.person().join(ada.link, "Ben")
    ada.notes("Ben")
    ben.say("before")
    ada.hears("before", "Ben")
    ben.page.reload()
    ben.inside()
    ben.say("after")
    ada.hears("after", "Ben")
    ada.say("welcome back")
    ben.hears("welcome back", "Ada")
    for tab in (ada, ben):
        tab.counts(2)
    # Others are told that a connection ended, and that somebody is back: not that one more came.
    assert ada.noted == [*ada.noted[:-2], "Ben left.", "Somebody came back."]
    assert ada.noted.count("Ben came in.") == 1
    assert ada.link == ben.link


def test_a_relay_restart_in_the_middle(browse, terminal, redis_server, tmp_path):
    settings = {"WEB_CLIENT": "true", "REDIS_URL": redis_server.url}
    (tmp_path / "first").mkdir()
    first = RelayProcess(tmp_path / "first", **settings)
    people = browse(first)
    people.watch.expect(LOST)
    ada = people.person()
    ada.page.clock.install()
    ada.create("Ada")
    ben = people.person().join(ada.link, "Ben")
    cleo = terminal("--name", "Cleo", "--no-qr", ada.link)
    cleo.notes("you are Cleo")
    ada.counts(3)
    ada.say("before")
    ben.hears("before"), cleo.hears("before")

    first.stop()
    for tab in (ada, ben):
        expect(tab.page.locator("#status")).to_have_text("Reconnecting")
    cleo.notes("connection lost")
    # Who is not there when a message comes has missed it: so let Ada come back as the last.
    ada.page.clock.pause_at(time.time() + 1)
    ada.say("meanwhile")
    (tmp_path / "second").mkdir()
    second = RelayProcess(tmp_path / "second", wait=False, PORT=first.port, **settings)
    try:
        second.port = first.port
        second.wait_alive()
        # The longer it was away, the longer they wait between two attempts.
        cleo.notes("back in the room", within=AWAY)
        ben.inside(within=AWAY)
        ben.counts(2)
        ada.page.clock.resume()
        ada.inside(within=AWAY)
        ada.sent("meanwhile")
        ben.say("and on")
        ada.hears("and on", "Ben")
        for tab in (ada, ben):
            tab.counts(3)
            assert tab.said == ["before", "meanwhile", "and on"], "each once"
        assert [cleo.hears(": ") for _ in range(2)] == ["Ada: meanwhile", "Ben: and on"]
        people.close()
    finally:
        second.stop()
    assert second.err == first.err == ""


def test_a_relay_that_stays_away_is_asked_again_when_the_person_says_so(browse, start_relay):
    relay = start_relay(WEB_CLIENT="true")
    people = browse(relay)
    people.watch.expect(LOST)
    ada = people.person().create("Ada")
    relay.terminate()
    banner = ada.page.locator("#connection")
    expect(banner).to_contain_text("Not connected")
    ada.say("into the void")
    line = ada.log.get_by_role("article").filter(has_text="into the void")
    expect(line.locator(".state")).to_have_text("sending…")
    ada.page.get_by_role("button", name="Try now").click()
    expect(banner).to_contain_text("Not connected")


def test_a_room_that_is_gone(browse):
    people = browse()
    people.watch.expect(NOT_THERE)
    ada = people.person().create()
    link = ada.link
    ada.leave()
    expect(ada.page.get_by_role("heading", name="Talk in private")).to_be_visible()
    ben = people.person().open(link).enter("Ben")
    expect(ben.page.get_by_role("alert")).to_contain_text("This room does not exist")


def test_a_token_of_a_link_that_is_spent_or_expired_is_replaced(browse):
    people = browse()
    ada = people.person().create("Ada")
    room = room_of(ada.link)
    single = f"{ada.link}&token={people.relay.http_token(room)}"
    past = mint(room, exp=int(time.time() * 1000) - 1000)
    for count, link in enumerate((single, single, f"{ada.link}&token={past}"), 2):
        people.another(ada).join(link, f"Guest {count}")
        ada.counts(count)


def test_a_full_room(browse):
    people = browse(ROOM_MAX_PARTICIPANTS="2")
    ada = people.person().create("Ada")
    ben = people.person().join(ada.link, "Ben")
    cleo = people.person().open(ada.link).enter("Cleo")
    expect(cleo.page.get_by_role("alert")).to_contain_text("The room is full")
    ben.leave()
    ada.counts(1)
    cleo.enter("Cleo").inside()
    ada.notes("Cleo")


def test_a_wrong_key(browse):
    people = browse()
    ada = people.person().create("Ada")
    wrong = ada.link.replace(key_of(ada.link), b64url(bytes(32)))
    eve = people.person().join(wrong, "Eve")
    assert eve.words != ada.words
    ada.say("not for Eve")
    expect(eve.page.get_by_role("alert")).to_contain_text("cannot be read")
    eve.say("from Eve")
    expect(ada.log).to_contain_text("cannot be read")
    assert "not for Eve" not in eve.page.content()
    assert "from Eve" not in ada.page.content()


def test_a_damaged_link(browse):
    people = browse()
    ada = people.person()
    for fragment, told in (
        ("#k=short&roomId=abcdefghijklmnop", "damaged"),
        ("#roomId=abcdefghijklmnop", "lacks the room's key"),
        (f"#k={'A' * 43}", "names no room"),
    ):
        ada.open(f"{people.base}/{fragment}")
        expect(ada.page.get_by_role("alert")).to_contain_text(told)


def test_a_link_of_the_old_service(browse):
    people = browse()
    ada = people.person().create("Ada")
    room, key = room_of(ada.link), key_of(ada.link)
    token = people.relay.http_token(room)
    ben = people.person()
    ben.open(f"{people.base}/join?roomId={room}&token={token}&name=Ben#k={key}")
    assert ben.page.url.startswith(f"{people.base}/")
    assert "?" not in ben.page.url, "what is private is behind the #"
    assert (room_of(ben.page.url), key_of(ben.page.url)) == (room, key)
    expect(ben.page.locator("#join-name")).to_have_value("Ben")
    ben.page.get_by_role("button", name="Join the room").click()
    ben.inside()
    ada.say("hello")
    ben.hears("hello", "Ada")
    assert ben.link == ada.link


def test_a_duplicated_tab_takes_the_seat_and_gives_it_back(browse):
    people = browse()
    ada = people.person().create("Ada")
    ben = people.person().join(ada.link, "Ben")
    with ben.page.expect_popup() as opened:
        ben.page.evaluate("() => { open(location.href) }")
    twin = Tab(opened.value, people.base).inside()
    expect(ben.page.get_by_role("heading", name="Open in another place")).to_be_visible()
    expect(ben.message).to_be_hidden()
    twin.say("from the twin")
    ada.hears("from the twin", "Ben")
    ada.counts(2)
    ben.page.get_by_role("button", name="Use it here").click()
    ben.inside()
    expect(twin.page.get_by_role("heading", name="Open in another place")).to_be_visible()
    ben.say("and back")
    ada.hears("and back", "Ben")
    ada.counts(2)
