"""A headless Chromium that asks nobody outside for anything.

from servers.browser import chromium   # fixture, in a conftest
press_enter(page)                      # where Enter leads to another page
expect_drawn(page, charts=5)           # what the charts' canvases hold

A click returns before its page has changed: read what a page shows with `expect`, which waits for it.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

SHELL, CHROMIUM = Path("/usr/bin/chromium-headless-shell"), Path("/usr/bin/chromium")
"""The same engine without and with a browser's windows, which take most of a second for each page that is opened."""

QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Start Debian's Chromium for one module; a machine without it fails here.

    As long as Playwright runs, no other test of the process can call asyncio.run.
    """
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=SHELL if SHELL.exists() else CHROMIUM, args=QUIET)
        yield browser
        browser.close()


def press_enter(page: Page) -> None:
    """Press Enter where that leads to another page, and let the key go there.

    Chromium never answers for a key that is let go while its page goes away, and Playwright would wait for ever.
    """
    with page.expect_navigation():
        page.keyboard.down("Enter")
    page.keyboard.up("Enter")


def expect_drawn(page: Page, *, charts: int) -> None:
    """Wait until the page has that many charts, and every chart's canvas holds more than one color."""
    expect(page.locator(".plot canvas")).to_have_count(charts)
    page.wait_for_function(
        "[...document.querySelectorAll('.plot canvas')].every((one) => new Set(new Uint32Array("
        "one.getContext('2d').getImageData(0, 0, one.width, one.height).data.buffer)).size > 1)"
    )
