"""The web client as a person uses it: by names and roles, as a screen reader hears them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, expect

PATIENCE = 15.0
"""Seconds, for a busy machine; nothing waits for that long where all is well."""


class Tab:
    """One tab with the web client in it."""

    def __init__(self, page: Page, base: str) -> None:
        self.page = page
        self.base = base
        self.log = page.get_by_role("log", name="Messages")
        self.message = page.get_by_role("textbox", name="Message", exact=True)

    # Into the room, and out of it.

    def create(self, name: str = "") -> Tab:
        self.page.goto(f"{self.base}/")
        form = self.page.get_by_role("form", name="Create a room")
        form.get_by_label("Your name").fill(name)
        form.get_by_role("button", name="Create a room").click()
        return self.inside()

    def open(self, link: str) -> Tab:
        """Follow a link, to where one is asked for a name."""
        self.page.goto(link)
        return self

    def join(self, link: str, name: str = "") -> Tab:
        return self.open(link).enter(name).inside()

    def enter(self, name: str = "") -> Tab:
        """Answer the question for a name."""
        form = self.page.get_by_role("form", name="Join the room")
        form.get_by_label("Your name").fill(name)
        form.get_by_role("button", name="Join the room").click()
        return self

    def inside(self, within: float = PATIENCE) -> Tab:
        """Wait until the person is in the room."""
        expect(self.page.locator("#status")).to_have_text("In the room", timeout=within * 1000)
        return self

    def leave(self) -> None:
        self.page.get_by_role("button", name="Leave", exact=True).click()

    @property
    def link(self) -> str:
        """The link that others join by."""
        value: str = self.page.get_by_label("Link to this room").input_value()
        assert value.startswith(f"{self.base}/#k=")
        return value

    @property
    def words(self) -> list[str]:
        """The safety words."""
        return self.page.locator("#words li").all_text_contents()

    def counts(self, participants: int) -> None:
        """Wait until so many are in the room."""
        expect(self.page.locator("#count")).to_contain_text(re.compile(rf"^{participants}\b"))

    # What is said.

    def say(self, text: str) -> None:
        self.message.fill(text)
        self.message.press("Enter")

    def hears(self, text: str, name: str | None = None, within: float = PATIENCE) -> None:
        """Wait for a message, and see that it is there once; ``name`` is whose."""
        line = self.log.get_by_role("article").filter(has_text=text)
        expect(line).to_have_count(1, timeout=within * 1000)
        if name is not None:
            expect(line.locator(".name")).to_have_text(name)

    def sent(self, text: str) -> None:
        """Wait until a message of one's own is acknowledged."""
        line = self.log.get_by_role("article").filter(has_text=text)
        expect(line.locator(".state")).to_have_text("sent")

    def notes(self, text: str) -> None:
        """Wait for a line about the room."""
        expect(self.log.locator(".note").filter(has_text=text).last).to_be_visible()

    @property
    def noted(self) -> list[str]:
        """All lines about the room."""
        return self.log.locator(".note").all_text_contents()

    @property
    def said(self) -> list[str]:
        """All that was said, in the order in which it stands there."""
        return self.log.locator(".text").all_text_contents()

    # Pictures and files.

    def attach(self, *files: Path | dict[str, Any]) -> None:
        with self.page.expect_file_chooser() as chosen:
            self.page.get_by_role("button", name="Attach").click()
        chosen.value.set_files(list(files))

    def sees(self, name: str) -> list[int]:
        """Wait until pictures with this in their names are drawn; returns their widths."""
        images = self.log.get_by_role("img", name=name)
        expect(images.first).to_be_visible()
        drawn = "image => image.decode().then(() => image.naturalWidth)"
        return [image.evaluate(drawn) for image in images.all()]

    def saved(self, name: str) -> bytes:
        """Save a file that is offered, and return what was saved."""
        with self.page.expect_download() as download:
            self.log.get_by_role("link", name=f"Save {name}").click()
        assert download.value.suggested_filename == name
        return Path(download.value.path()).read_bytes()
