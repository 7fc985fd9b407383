"""A headless Chromium that asks nobody outside for anything.

chromium                               # a fixture of every test
press_enter(page)                      # where Enter leads to another page
expect_drawn(page, charts=5)           # what the charts' canvases hold
assert axe_violations(page) == []

A click returns before its page has changed: read what a page shows with `expect`, which waits for it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Playwright, expect, sync_playwright

SHELL, CHROMIUM = Path("/usr/bin/chromium-headless-shell"), Path("/usr/bin/chromium")
"""The same engine without and with a browser's windows, which take most of a second for each page that is opened."""

COLOR_RULES = ("color-contrast", "link-in-text-block")
"""The rules of axe-core that read colors: all that can differ where only the color scheme does."""

QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


_RUNNING = pytest.StashKey[tuple[Playwright, Browser]]()


@pytest.fixture(scope="module")
def chromium(pytestconfig: pytest.Config) -> Browser:
    """Return Debian's Chromium, which one module leaves to the next; a machine without it fails here.

    As long as Playwright runs, no other test of the process can call asyncio.run.
    """
    running = pytestconfig.stash.get(_RUNNING, None)
    if running is None or not running[1].is_connected():
        _stop(pytestconfig)
        playwright = sync_playwright().start()
        browser = playwright.chromium.launch(executable_path=SHELL if SHELL.exists() else CHROMIUM, args=QUIET)
        pytestconfig.stash[_RUNNING] = running = playwright, browser
    return running[1]


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Stop the browser after a module where the next one has no test that uses it."""
    if nextitem is not None and nextitem.path == item.path:
        return
    if not any(
        "chromium" in getattr(test, "fixturenames", ())
        for test in item.session.items
        if nextitem is not None and test.path == nextitem.path
    ):
        _stop(item.config)


def _stop(config: pytest.Config) -> None:
    if _RUNNING in config.stash:
        playwright, browser = config.stash[_RUNNING]
        del config.stash[_RUNNING]
        browser.close()
        playwright.stop()


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


def axe_violations(page: Page, *, rules: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Return the rules (default: all) that axe-core finds broken on the page as it is, each with its first element."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(Axe().axe_script)
    # What passes is not sent: it would be most of the answer.
    options = {"resultTypes": ["violations"]} | ({"runOnly": list(rules)} if rules else {})
    found = page.evaluate("(options) => axe.run(options).then((results) => results.violations)", options)
    return [{"rule": one["id"], "help": one["help"], "element": one["nodes"][0]["html"]} for one in found]
