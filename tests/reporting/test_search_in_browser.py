"""The report in a browser: offline, from click to numbers."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from reporting.stories import bid_table, live_comparison, read_words, story

from optimizer.core.pricing.explanation import explain_reason
from optimizer.core.serving.keys import segment_key
from optimizer.reporting.report_data import RunStory

HOSTILE = "</script><img src=x onerror=alert(1)>"
VALUES = [
    ("10001", "New York", "ios"),
    ("10002", "New Mexico", "android"),
    ("10003", "Québec", "ios"),
    (HOSTILE, "\u202eTexas", None),
]
WORDS = {"New York ios": [0], "ios  new york": [0], "NEW": [0, 1], "quebec": [2], "10002": [1], "": [0, 1, 2, 3]}
"""What is typed: the places in VALUES of the segments that are found."""


@pytest.fixture
def open_report(chromium: Browser, tmp_path: Path) -> Iterator[Callable[[RunStory], Page]]:
    """Return what shows the report of a story; at the end no script failed and nothing was asked of any host."""
    faults: list[str] = []
    context = chromium.new_context(viewport={"width": 390, "height": 800}, color_scheme="dark")

    def open_report(told: RunStory) -> Page:
        path = tmp_path / "report.html"
        path.write_text(read_words(told).source, encoding="utf-8")
        page = context.new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda message: faults.append(message.text))
        page.on("dialog", lambda dialog: faults.append(dialog.message))
        page.on("request", lambda request: request.url == path.as_uri() or faults.append(request.url))
        page.goto(path.as_uri())
        return page

    yield open_report
    context.close()
    assert faults == []


@pytest.fixture
def told() -> RunStory:
    bids = bid_table(len(VALUES))
    return story(
        bids=bids.assign(segment_key=[segment_key(values) for values in VALUES]), live=live_comparison(changes=None)
    )


def test_words_find_a_segment_whatever_their_order_case_and_accents(open_report, told: RunStory):
    page = open_report(told)
    for words, found in WORDS.items():
        page.get_by_label("Find a segment").fill(words)
        expect(page.locator("#segment-results code")).to_have_text([segment_key(VALUES[place]) for place in found])


def test_a_segment_shows_its_bids_its_limits_and_the_sentence_why(open_report, told: RunStory):
    page, row = open_report(told), told.bids.iloc[1]
    page.get_by_label("Find a segment").fill("new")
    page.get_by_role("button", name="New%20Mexico").click()
    detail = page.locator("#segment-detail")
    expect(detail.locator("[data-value=key]")).to_have_text(row["segment_key"])
    expect(detail.locator("#segment-features")).to_contain_text("geo_region_name New Mexico")
    expect(detail.locator("[data-value=reason]")).to_have_text(
        explain_reason(row, pricing=told.pricing, win_rate=told.win_rate)
    )
    expect(detail.locator("[data-value=wanted_bid_cpm]")).to_have_text(f"{row['wanted_bid_cpm']:.2f}")
    expect(detail.locator("[data-value=suggested_bid_cpm]")).to_have_text(f"{row['suggested_bid_cpm']:.2f}")
    expect(detail.locator("[data-value=live_bid_cpm]")).to_have_text("\N{EN DASH}")
    expect(detail.locator("[data-high=cap]")).to_have_text(f"{told.pricing.settings.max_bid_cpm / 1.02:.2f}")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_words_without_a_segment_say_so(open_report, told: RunStory):
    page = open_report(told)
    page.get_by_label("Find a segment").fill("ios android")
    expect(page.get_by_role("status")).to_have_text("No segment of this report has all of these words.")
    expect(page.locator("#segment-detail")).to_be_hidden()


def test_hostile_values_are_found_and_stay_text(open_report, told: RunStory):
    page = open_report(told)
    page.get_by_label("Find a segment").fill("onerror=alert(1)")
    expect(page.locator("#segment-results button")).to_have_count(1)
    expect(page.locator("#segment-features bdi")).to_have_text([HOSTILE, "\u202eTexas", "(empty)"])
    assert page.locator("img").count() == 0
