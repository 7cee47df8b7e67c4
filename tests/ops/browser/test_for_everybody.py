"""Keyboard, screen reader, phone, darkness; and the two pictures of the README."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import expect

from tests.ops.browser.conftest import make_png

pytestmark = pytest.mark.timeout(90)
PHONE = {"viewport": {"width": 375, "height": 720}, "has_touch": True, "is_mobile": True}


def test_by_keyboard_alone(browse):
    people = browse()
    ada = people.person()
    ada.page.goto(f"{people.base}/")
    keys = ada.page.keyboard

    def go_to(name: str) -> None:
        """Tab on to what has this name."""
        focused = ada.page.locator(":focus")
        for _ in range(40):
            keys.press("Tab")
            if focused.count() and name in (focused.text_content() or "") + _label(focused):
                return
        pytest.fail(f"Tab does not lead to {name!r}")

    go_to("Your name")
    keys.type("Ada")
    keys.press("Enter")
    ada.inside()
    expect(ada.message).to_be_focused()
    keys.type("first line")
    keys.press("Shift+Enter")
    keys.type("second line")
    keys.press("Enter")
    ada.sent("first line")
    assert ada.said == ["first line\nsecond line"]
    expect(ada.message).to_be_focused()
    go_to("Copy the link")
    keys.press("Enter")
    expect(ada.page.locator("#copied")).to_have_text("The link is copied.")
    assert ada.page.evaluate("navigator.clipboard.readText()") == ada.link
    go_to("Leave")
    keys.press("Space")
    expect(ada.page.get_by_role("heading", name="Talk in private")).to_be_focused()


def _label(focused: Any) -> str:
    return str(focused.evaluate("e => [...(e.labels ?? [])].map((l) => l.textContent).join(' ')"))


def test_what_a_screen_reader_meets(browse):
    people = browse()
    ada = people.person()
    ada.page.goto(f"{people.base}/")
    expect(ada.page.locator("body")).to_match_aria_snapshot("""
      - main:
        - heading "Talk in private" [level=1]
        - form "Create a room":
          - heading "Create a room" [level=2]
          - textbox "Your name (optional)"
          - button "Create a room"
        - form "Join with a link":
          - heading "Join with a link" [level=2]
          - textbox "Link to a room"
          - button "Open the link"
    """)
    ada.create("Ada")
    ben = people.person().join(ada.link, "Ben")
    ben.say("hello")
    ada.hears("hello")
    ben.attach({"name": "a.png", "mimeType": "image/png", "buffer": make_png(40, 30)})
    ada.sees("Picture from Ben")
    expect(ada.page.locator("body")).to_match_aria_snapshot("""
      - banner:
        - heading "Private room" [level=1]
        - status: In the room
        - button /Invite and people/
        - button "Leave"
      - main "Private room":
        - log "Messages":
          - article:
            - paragraph: /Ben/
            - paragraph: hello
          - article:
            - img /Picture from Ben/
        - form "Write a message":
          - textbox "Message"
          - button "Attach pictures or files"
          - button "Send"
      - complementary "Invite and people":
        - region "Invite":
          - heading "Invite" [level=2]
          - textbox "Link to this room"
          - button "Copy the link"
          - img "QR code of the invitation"
        - region "People":
          - heading "People" [level=2]
          - list:
            - listitem: Ada (you)
            - listitem: Ben
        - region "Safety words":
          - heading "Safety words" [level=2]
          - list
    """)
    expect(ada.log).to_have_attribute("aria-live", "polite")
    assert ada.page.locator("html").get_attribute("lang") == "en"


def test_on_a_phone(browse):
    people = browse()
    ada = people.person(**PHONE).create("Ada")
    panel = ada.page.get_by_role("complementary", name="Invite and people")
    expect(panel).to_be_visible()
    ada.page.get_by_role("button", name="Back to the messages").tap()
    expect(panel).to_be_hidden()
    ben = people.person().join(ada.link, "Ben")
    long = "w" * 300
    ben.say(f"wide {long}")
    ada.hears("wide")
    _fits(ada)
    toggle = ada.page.get_by_role("button", name="Invite and people")
    toggle.tap()
    expect(panel).to_be_visible()
    expect(ada.page.get_by_role("img", name="QR code")).to_be_visible()
    _fits(ada)
    ada.page.get_by_role("button", name="Back to the messages").tap()
    expect(panel).to_be_hidden()
    ada.message.fill("by thumb")
    ada.page.get_by_role("button", name="Send").tap()
    ben.hears("by thumb", "Ada")
    for name in ("Send", "Leave", "Attach"):
        box = ada.page.get_by_role("button", name=name).bounding_box()
        assert min(box["width"], box["height"]) >= 40, f"{name} is small for a thumb"


def _fits(tab: Any) -> None:
    """Nothing has to be scrolled sideways."""
    root = "document.documentElement"
    assert tab.page.evaluate(f"{root}.scrollWidth <= {root}.clientWidth")


def test_text_stands_out_in_light_and_in_darkness(browse):
    people = browse()
    ada = people.person().create("Ada")
    ben = people.person().join(ada.link, "Ben")
    ben.say("can you read this")
    ada.hears("can you read this")
    ada.say("yes")
    ada.sent("yes")
    for scheme in ("light", "dark"):
        ada.page.emulate_media(color_scheme=scheme)
        found = ada.page.evaluate(CONTRASTS)
        assert {each["text"] for each in found} > {"can you read this", "yes", "Copy the link"}
        low = [each for each in found if each["ratio"] < 4.5]
        assert low == [], f"WCAG 2.2, 1.4.3: {scheme}"
        background = ada.page.evaluate("getComputedStyle(document.body).backgroundColor")
        light = sum(int(part) for part in background.strip("rgba()").split(",")[:3]) > 3 * 128
        assert light is (scheme == "light")


#: Each visible text with the ratio of its colour to the nearest colour behind it.
CONTRASTS = """() => {
  const context = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const parse = (color) => {
    context.clearRect(0, 0, 1, 1);
    context.fillStyle = color;
    context.fillRect(0, 0, 1, 1);
    return [...context.getImageData(0, 0, 1, 1).data];
  };
  const luminance = ([r, g, b]) => {
    const linear = (c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    return 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const color = parse(getComputedStyle(at).backgroundColor);
      if (color[3] === 255) return color;
    }
    return [255, 255, 255, 255];
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const found = [];
  while (walker.nextNode()) {
    const text = walker.currentNode.textContent.trim();
    const element = walker.currentNode.parentElement;
    const box = element.getBoundingClientRect();
    if (!text || box.width < 2 || box.height < 2 || !element.checkVisibility()) continue;
    const [one, two] = [parse(getComputedStyle(element).color), behind(element)].map(luminance);
    found.push({text, ratio: (Math.max(one, two) + 0.05) / (Math.min(one, two) + 0.05)});
  }
  return found;
}"""
