"""A browser that is signed in, and watches what its pages do."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, StorageState, expect
from servers.tracking import Tracking


@dataclass
class Watched:
    """A browser's context and what its pages did."""

    context: BrowserContext
    address: str
    requests: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def open(self, path: str = "/") -> Page:
        """Return a new tab at a page of the dashboard."""
        page = self.context.new_page()
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("pageerror", lambda error: self.faults.append(f"script: {error}"))
        page.on("console", self._note)
        page.on("dialog", lambda dialog: self.faults.append(f"dialog: {dialog.message}"))
        page.goto(self.address + path)
        return page

    def _note(self, message: ConsoleMessage) -> None:
        if "Content Security Policy" in message.text:
            self.faults.append(message.text)


@pytest.fixture
def open_browser(chromium: Browser, tracking: Tracking) -> Iterator[Callable[..., Watched]]:
    """Give a function that opens a browser's context; at the end, no page did what it must not."""
    opened: list[Watched] = []

    def open_one(**options: Any) -> Watched:
        context = chromium.new_context(**options)
        context.set_default_timeout(10_000)
        opened.append(Watched(context, f"{tracking.base_url}/dashboard"))
        return opened[-1]

    yield open_one
    for one in opened:
        one.context.close()
        assert [url for url in one.requests if not url.startswith(f"{one.address}/")] == []
        assert one.requests and one.faults == []


@pytest.fixture(scope="module")
def signed_in(chromium: Browser, tracking: Tracking) -> StorageState:
    """What a browser keeps that has signed in for the project shop."""
    with chromium.new_context() as context:
        page = context.new_page()
        page.goto(f"{tracking.base_url}/dashboard/")
        page.get_by_label("API key").fill(tracking.keys["shop"])
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("button", name="Sign out")).to_be_visible()
        return context.storage_state()


@pytest.fixture
def browser(open_browser: Callable[..., Watched], signed_in: StorageState) -> Watched:
    """A desktop's browser, signed in for the project shop."""
    return open_browser(viewport={"width": 1280, "height": 860}, storage_state=signed_in)
