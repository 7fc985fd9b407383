"""Every page: no axe violation in light and dark, no sideways scrolling on a phone, small, and nothing jumps."""

import os
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from console.conftest import SECOND_RUN_AT
from pipeline.driver import ENTITY

CLIENT = f"/clients/{ENTITY}"
RUN = f"/runs/{SECOND_RUN_AT:%Y%m%d_%H%M%S}"
PAGES = {
    "clients": "/",
    "overview": CLIENT,
    "settings": f"{CLIENT}/settings",
    "what-if": f"{CLIENT}/what-if?target_win_rate=0.35",
    "inspect": f"{CLIENT}/inspect",
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
    "missing": "/clients/nowhere",
}
IMAGES = Path(__file__).parents[2] / "docs/images/console"
FIRST_LOAD_BYTES = 200_000
SHIFT = """() => new Promise((done) => {
  let sum = 0;
  new PerformanceObserver((list) => list.getEntries().forEach((one) => (sum += one.value)))
    .observe({ type: "layout-shift", buffered: true });
  setTimeout(() => done(sum), 300);
})"""
"""The page's cumulative layout shift."""


@pytest.mark.parametrize(("name", "path"), PAGES.items(), ids=PAGES)
def test_a_first_load_is_small_and_does_not_jump_and_has_no_axe_violation(console, browser, name, path):
    page = browser.open(console, path)
    sizes = page.evaluate(
        "[...performance.getEntriesByType('resource'), ...performance.getEntriesByType('navigation')]"
        ".map((one) => one.transferSize)"
    )
    assert 0 < sum(sizes) < FIRST_LOAD_BYTES, f"{sum(sizes):,} bytes"
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate(SHIFT) < 0.02, scheme
        found = Axe().run(page)
        assert found.violations_count == 0, f"{scheme}: {found.generate_report()}"
        if os.environ.get("OPTIMIZER_SCREENSHOTS"):
            IMAGES.mkdir(parents=True, exist_ok=True)
            page.screenshot(path=IMAGES / f"{name}-{scheme}.png", full_page=True)


def test_no_page_is_wider_than_a_phone(console, open_browser):
    browser = open_browser(viewport={"width": 390, "height": 844})
    for name, path in PAGES.items():
        assert browser.open(console, path).evaluate("document.documentElement.scrollWidth") <= 390, name
