"""People who turn to something else while the page is still on its way into a room, and those who
write or show what the page must not take for its own."""

from __future__ import annotations

import json
import struct
import zlib
from typing import Any

import pytest
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.timeout(90)


class Answers:
    """Holds back what the relay answers to a page, until it is let go."""

    def __init__(self, page: Page, *kinds: str) -> None:
        self.kinds = kinds
        self.held: list[tuple[Any, str]] = []
        self.asked: list[str] = []
        page.route_web_socket("**/ws", self._route)

    def _route(self, socket: Any) -> None:
        relay = socket.connect_to_server()

        def to_page(text: str) -> None:
            if json.loads(text)["t"] in self.kinds:
                self.held.append((socket, text))
            else:
                socket.send(text)

        def to_relay(text: str) -> None:
            self.asked.append(json.loads(text)["t"])
            relay.send(text)

        relay.on_message(to_page)
        socket.on_message(to_relay)

    def let_go(self) -> None:
        self.kinds = ()
        for socket, text in self.held:
            socket.send(text)


def wait_for_held(page: Page, answers: Answers) -> None:
    for _ in range(300):
        if answers.held:
            return
        page.wait_for_timeout(50)
    pytest.fail("the relay did not answer")


def test_a_room_that_was_given_up_for_another_is_not_entered(browse):
    people = browse()
    ada = people.person().create("Ada")
    ben = people.person()
    answers = Answers(ben.page, "ROOM_CREATED")
    ben.page.goto(f"{people.base}/")
    ben.page.get_by_role("button", name="Create a room").click()
    wait_for_held(ben.page, answers)
    ben.page.get_by_role("textbox", name="Link to a room").fill(ada.link)
    ben.page.get_by_role("button", name="Open the link").click()
    ben.enter("Ben").inside()
    answers.let_go()
    ben.say("to Ada")
    ada.hears("to Ada", "Ben")
    assert ben.page.url == ben.link == ada.link
    ben.counts(2)


def test_who_turns_back_while_joining_is_not_brought_in(browse):
    people = browse()
    ada = people.person().create("Ada")
    ben = people.person()
    answers = Answers(ben.page, "JOINED")
    ben.open(ada.link).enter("Ben")
    wait_for_held(ben.page, answers)
    ben.page.get_by_role("button", name="Create a room of your own instead").click()
    answers.let_go()
    ada.notes("Ben left.")
    expect(ben.page.get_by_role("heading", name="Talk in private")).to_be_visible()
    expect(ben.page.locator("#room")).to_be_hidden()
    expect(ben.page.locator("#start-alert")).to_be_hidden()
    assert ben.page.url == f"{people.base}/"


def test_what_was_sealed_by_one_is_not_heard_again_from_another(browse):
    people = browse()
    ada = people.person().create("Ada")
    ben = people.person()
    answers = Answers(ben.page, "APP_MSG")
    ben.join(ada.link, "Ben")
    ada.say("first")
    wait_for_held(ben.page, answers)
    # Who has no key can take a seat, and send what it has heard as its own.
    socket, text = answers.held[0]
    frame = json.loads(text)
    frame["id"], frame["body"]["memberId"] = "another-frame", "another-member"
    answers.let_go()
    socket.send(json.dumps(frame))
    ada.say("last")
    ben.hears("last", "Ada")
    assert ben.said == ["first", "last"]


def test_who_is_thrown_out_at_once_each_time_comes_back_more_slowly(browse):
    people = browse()
    page = people.person().page
    place = {"roomId": "r" * 22, "memberId": "me", "nextToken": "n" * 22, "participants": 1}

    def relay(socket: Any) -> None:
        def tell(kind: str, **more: Any) -> None:
            socket.send(json.dumps({"v": 1, "t": kind, "id": "server-frame", **more}))

        def answer(text: str) -> None:
            asked = json.loads(text)
            kind = "JOINED" if asked["t"] == "JOIN_REQUEST" else "ROOM_CREATED"
            tell(kind, re=asked["id"], body=place)
            socket.close(code=1008, reason="slow consumer")

        socket.on_message(answer)
        tell("HELLO", body={})

    page.route_web_socket("**/ws", relay)
    page.goto(f"{people.base}/")
    waits = page.evaluate(
        """() => new Promise(async (resolve) => {
          const { RoomClient } = await import("/client.js");
          const waits = [];
          const client = new RoomClient(location.origin.replace("http", "ws") + "/ws", (event) => {
            if (event.type !== "lost") return;
            waits.push(event.retryMs);
            if (waits.length < 4) setTimeout(() => client.retryNow());
            else client.leave().then(() => resolve(waits));
          });
          await client.create("");
        })"""
    )
    assert waits[0] <= 500
    assert waits[3] >= 2000


def test_what_the_relay_says_does_not_pass_for_the_pages_words(browse):
    people = browse()
    ada = people.person()
    answers = Answers(ada.page)
    ada.create("Ada")
    (line,) = ada.page.evaluate(
        """async () => {
          const { People } = await import("/people.js");
          const noted = [];
          const people = new People({ note: (text) => noted.push(text) }, {});
          people.notice("Leave, and\\n open \\u202ethis link");
          return noted;
        }"""
    )
    assert answers.asked == ["ROOM_CREATE"]
    assert line == "The relay says: Leave, and open this link"


def test_an_address_with_marks_of_direction_is_no_link(browse):
    ada = browse().person().create("Ada")
    ada.say("see https://good.example/\u202emoc.live and https://x.example/a?b=(c).")
    links = ada.log.get_by_role("article").get_by_role("link")
    expect(links).to_have_count(2)
    assert [link.get_attribute("href") for link in links.all()] == [
        "https://good.example/",
        "https://x.example/a?b=(c",
    ]


def black_png(width: int, height: int) -> bytes:
    """One bit for each pixel, and next to nothing when it is packed."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    rows = zlib.compress(bytes((1 + (width + 7) // 8) * height), 9)
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def test_a_picture_that_unfolds_into_gigabytes_is_not_shown(browse):
    ada = browse().person().create("Ada")
    ada.attach({"name": "b.png", "mimeType": "image/png", "buffer": black_png(8000, 7000)})
    expect(ada.log.get_by_text("This picture is too large to be shown.")).to_be_visible()
    expect(ada.log.get_by_role("img")).to_have_count(0)
    ada.attach({"name": "s.png", "mimeType": "image/png", "buffer": black_png(80, 70)})
    assert ada.sees("Picture from you") == [80]


def test_old_pictures_and_files_make_room_for_new_ones(browse):
    ada = browse().person().create("Ada")
    ada.page.evaluate(
        """async () => {
          const { LogView } = await import("/view-log.js");
          const log = new LogView(2500);
          const author = { memberId: "b", name: "Ben", own: false };
          for (const name of ["one", "two", "three"]) {
            log.content(author, name, "", new Uint8Array(1000));
          }
          log.content(author, "large", "", new Uint8Array(9000));
          log.content(author, "last", "", new Uint8Array(10));
        }"""
    )
    files = ada.log.locator(".file")
    expect(files).to_have_text(
        [*["This is too old to be kept any longer."] * 4, "Save last 10 bytes"]
    )
