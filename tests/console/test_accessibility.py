"""Every page: no axe violation in light and dark, no sideways scrolling on a phone, small, and nothing jumps.

With OPTIMIZER_SCREENSHOTS set, the tests also take the pictures of the docs; `pngquant 64 --ext .png --force` makes
them small.
"""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from console.conftest import DESKTOP, SECOND_RUN_AT, TODAY, Business, Console, serve_console
from pipeline.driver import ENTITY, Pipeline
from playwright.sync_api import Page, expect
from servers.browser import COLOR_RULES, axe_violations

from optimizer.control_plane.bidder_counts import HourCount, write_counts

CLIENT = f"/clients/{ENTITY}"
RUN = f"/runs/{SECOND_RUN_AT:%Y%m%d_%H%M%S}"
PAGES = {
    "clients": "/",
    "overview": CLIENT,
    "settings": f"{CLIENT}/settings",
    "what-if": f"{CLIENT}/what-if?target_win_rate=0.35",
    "inspect": f"{CLIENT}/inspect",
    "inspected": f"{CLIENT}/inspect",
    "split": f"{CLIENT}/split?at=2026-02-10T15:00",
    "split-preview": f"{CLIENT}/split/preview?pct.20260204_060000=50&pct.20260204_070000=50",
    "split-refused": f"{CLIENT}/split/preview?pct.20260204_060000=50",
    "split-rollback": f"{CLIENT}/split/rollback",
    "funnel": f"{CLIENT}/funnel",
    "runs": f"{CLIENT}/runs",
    "compare": f"{CLIENT}/compare",
    "run": RUN,
    "figures": f"{RUN}/figures",
    "segments": f"{RUN}/segments?search=texas+android",
    "segment": f"{RUN}/segments?key=26447%7Candroid%7CTexas",
    "no-data": "/clients/drugs_com",
    "no-counts": "/clients/drugs_com/funnel",
    "missing": "/clients/nowhere",
}
IMAGES = Path(__file__).parents[2] / "docs/images/console"
SHOWN = (
    *("clients", "overview", "what-if", "split", "split-preview", "run", "compare", "segment", "inspected", "funnel"),
    "settings",
)
"""The pages that the docs show, light and dark."""
PICTURE_HEIGHT = 1_500
OUTCOMES = {
    "segment": 900,
    "fallback": 60,
    "no_macro": 25,
    "cap": 50,
    "below_floor": 140,
    "currency": 15,
    "unreadable": 8,
}
FIRST_LOAD_BYTES = 200_000
SHIFT = """() => new Promise((done) => {
  let sum = 0;
  new PerformanceObserver((list) => list.getEntries().forEach((one) => (sum += one.value)))
    .observe({ type: "layout-shift", buffered: true });
  setTimeout(() => done(sum), 300);
})"""
"""The page's cumulative layout shift."""


@pytest.fixture(scope="module")
def console(business: Business, new_pipeline: Callable[..., Pipeline]) -> Iterator[Console]:
    """Return a console of the client with a history, whose bidders counted yesterday's impressions."""
    engine = new_pipeline(copy_of=Pipeline(business.systems)).systems.engine
    midnight = TODAY.replace(hour=0, minute=0)
    counts = [
        HourCount(ENTITY, midnight - timedelta(hours=back), business.first.run_id, outcome, number + 7 * (back % 12))
        for back in range(1, 25)
        for outcome, number in OUTCOMES.items()
    ]
    write_counts(engine, "bidder", counts, now=TODAY)
    with serve_console(replace(business, systems=replace(business.systems, engine=engine))) as served:
        yield served


def show(page: Page, console: Console, name: str) -> None:
    """Lead a tab to a page; on `inspected` a request is pasted and priced."""
    page.goto(console.address + PAGES[name])
    if name == "inspected":
        macros = {"[ADX_PLACEMENT_ID]": "26447", "[ADX_USER_OS]": "android", "[ADX_GEO_STATE]": "Texas"}
        request = {"macros": macros, "auction_id": "a-1", "floor_cpm": 4.5}
        page.get_by_label("Bid request").fill(json.dumps(request, indent=2))
        page.get_by_role("button", name="Price it").click()
        expect(page.get_by_role("heading", name="Impression 1")).to_be_visible()


def take_picture(page: Page, name: str) -> None:
    """Write the picture of a page for the docs, where they are asked for."""
    if not os.environ.get("OPTIMIZER_SCREENSHOTS"):
        return
    height = min(page.evaluate("document.documentElement.scrollHeight"), PICTURE_HEIGHT)
    page.set_viewport_size({"width": page.viewport_size["width"], "height": height})
    page.wait_for_timeout(300)  # the charts are drawn again
    IMAGES.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=IMAGES / f"{name}.png")
    page.set_viewport_size({"width": page.viewport_size["width"], "height": DESKTOP["height"]})


@pytest.mark.parametrize("name", PAGES)
def test_a_first_load_is_small_and_does_not_jump_and_has_no_axe_violation(console, browser, name):
    page = browser.new_tab()
    show(page, console, name)
    sizes = page.evaluate(
        "[...performance.getEntriesByType('resource'), ...performance.getEntriesByType('navigation')]"
        ".map((one) => one.transferSize)"
    )
    assert 0 < sum(sizes) < FIRST_LOAD_BYTES, f"{sum(sizes):,} bytes"
    for scheme, rules in (("light", ()), ("dark", COLOR_RULES)):
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate(SHIFT) < 0.02, scheme
        assert axe_violations(page, rules=rules) == [], scheme
        if name in SHOWN:
            take_picture(page, f"{name}-{scheme}")


def test_no_page_is_wider_than_a_phone(console, open_browser):
    page = open_browser(viewport={"width": 390, "height": 844}).new_tab()
    for name in PAGES:
        show(page, console, name)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, name
        if name == "overview":
            take_picture(page, "overview-phone")
