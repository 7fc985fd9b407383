"""The whole page, read back as a browser reads it."""

import hashlib
import json
import re
from base64 import b64encode

import numpy as np
import pytest
from reporting.stories import (
    Page,
    backtest,
    bid_table,
    changed_bids,
    check,
    feature,
    live_comparison,
    parts,
    read,
    read_words,
    story,
    without_active_run,
    without_bids,
)

from optimizer.presentation.formats import amount, count, percent
from optimizer.reporting.page import render_report
from optimizer.reporting.report_data import ComparedWith, SpendTable

ATTACK = "</text></svg></style></title><script>alert('1')</script><img src=x onerror=alert(1)>"
REFERENCES = {"src", "href", "xlink:href", "action", "data", "srcset", "poster", "formaction", "background"}


@pytest.fixture(scope="module")
def page() -> Page:
    return read(story())


def test_the_headline_has_the_numbers_of_the_run(page: Page):
    told, text = story(), page.section("")
    for value in (
        "drugs_hcp",
        "validation passed",
        "20260307_060000",
        "2026-01-06 up to 2026-03-07",
        percent(told.figures["expected_win_rate"]),
        f"target {percent(told.target_win_rate)}",
        amount(told.figures["expected_cpm"]),
        percent(told.figures["row_coverage"]),
        f"λ = {amount(told.figures['shadow_price_cpm'])} CPM",
        f"of {count(len(told.bids))}; {count(told.bids['is_served'].sum())} served",
    ):
        assert " ".join(value.split()) in text


def test_the_sections_come_in_the_order_of_what_a_trader_asks(page: Page):
    assert [name for name in page.sections if name] == [
        "validation",
        "live",
        "changes",
        "spend",
        "search",
        "bids",
        "curves",
        "model",
        "backtest",
        "multipliers",
        "more",
    ]


def test_a_failed_check_fails_the_headline_and_stands_first():
    failed = read_words(story(checks=[check("join_rate"), check("largest_step", is_passed=False, message="fix it")]))
    assert "validation failed" in failed.section("")
    _, first, _, second = failed.rows_of("validation")
    assert first[0].startswith("largest_step") and "fix it" in first[0] and first[3] == "failed"
    assert second[0] == "join_rate" and second[3] == "passed"


def test_a_warning_alone_leaves_the_run_passed():
    warned = read_words(
        story(checks=[check("ctr_auc_lower", severity="soft", is_passed=False, message="too few clicks")])
    )
    assert "validation passed with 1 warning" in warned.section("")
    assert "Validation passed with 1 warning. The run can go live; read its warnings." in warned.section("validation")
    assert "too few clicks" in warned.section("validation")


def test_a_warning_that_holds_the_run_is_said_with_what_it_means():
    held = read_words(
        story(checks=[check("expected_win_rate", severity="hold", is_passed=False, message="raise the cap")])
    )
    assert "does not go live automatically (expected_win_rate)" in held.section("validation")
    assert held.rows_of("validation")[1][3] == "holds"


def test_a_target_that_cannot_be_reached_is_said_above_the_numbers():
    sentence = "target_win_rate 0.5 cannot be reached: at most 0.37; raise max_bid_cpm"
    page = read_words(story(target_sentence=sentence))
    assert page.section("").index(sentence) < page.section("").index("Expected win rate")


def test_a_forecast_is_shown_with_its_interval():
    known = story().figures | {"expected_win_rate_low": 0.27, "expected_win_rate_high": 0.33}
    text = read_words(story(figures=known)).section("")
    assert f"{percent(0.27)} to {percent(0.33)}; target {percent(0.30)}".replace("\N{NO-BREAK SPACE}", " ") in text
    assert "Intervals are of the next days, with 95 % confidence." in text
    assert "confidence" not in read_words(story()).section("")


def test_a_target_out_of_reach_is_said():
    missed = read_words(story(figures={**story().figures, "expected_win_rate": 0.21}))
    assert "the target is missed" in missed.section("")
    assert ("div", {"class": "card missed"}) in missed.elements


def test_what_the_target_would_cost_segment_by_segment_is_said():
    compared = read_words(story(figures={**story().figures, "segment_scope_cpm_ratio": 1.384}))
    assert "would make the CPM 1.38 times what it is" in compared.section("")


def test_where_each_segment_has_the_target_no_price_of_a_win_is_looked_for():
    free = {**story().figures, "shadow_price_cpm": 0.0}
    alone = read_words(story(figures=free, win_rate_scope="segment")).section("")
    assert "Each segment is bid to the target separately, so no price is put on winning: λ is 0." in alone
    assert "λ is 0: no price was put on winning beyond" in read_words(story(figures=free)).section("")


def test_a_backtest_that_refused_says_why():
    refused = read_words(story(backtest=backtest(is_supported=False, reason="only 12 auctions tell anything", rows=())))
    assert "refused to judge: only 12 auctions tell anything" in refused.section("backtest")


def test_without_a_backtest_the_page_says_why():
    figures = story().figures
    first = read_words(story(backtest=None, active_run_id=None, bids=without_active_run(bid_table())))
    assert "No backtest was made: there is nothing to hold this run against yet." in first.section("backtest")
    problem = "the key of the active run has os_code; one is not a candidate feature now"
    incomparable = read_words(story(backtest=None, figures={**figures, "active_run_problem": problem}))
    assert f"No backtest was made: {problem}." in incomparable.section("backtest")
    second_price = read_words(story(backtest=None, figures={**figures, "active_run_problem": None}))
    assert "No backtest was made: it is for first-price auctions only." in second_price.section("backtest")


def test_every_picture_has_a_name_and_a_sentence(page: Page):
    pictures = [attributes for tag, attributes in page.elements if tag == "svg"]
    assert len(pictures) == 13
    assert all(picture["role"] == "img" and picture["aria-label"] for picture in pictures)
    captions = re.findall(r"<figcaption>([^<]*)</figcaption>", page.source)
    assert len(captions) == 13 and all(caption.endswith(".") for caption in captions)


def test_ids_are_unique_and_every_inner_reference_has_its_target(page: Page):
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    used = re.findall(r"url\(#(\w+)\)", page.source) + re.findall(r'xlink:href="#(\w+)"', page.source)
    assert used and set(used) <= set(ids)


def test_the_page_needs_nothing_but_itself(page: Page):
    assert {"link", "iframe", "img", "object", "embed"} & {tag for tag, _ in page.elements} == set()
    references = {value for _, attributes in page.elements for name, value in attributes.items() if name in REFERENCES}
    assert all(reference.startswith("#") for reference in references)
    assert "@import" not in page.styles and "url(" not in page.styles
    assert re.findall(r"\w+://", re.sub(r'xmlns(:\w+)?="[^"]*"', "", page.source)) == []


def test_the_policy_of_the_page_allows_its_own_script_and_nothing_else(page: Page):
    policy = next(found["content"] for tag, found in page.elements if found.get("http-equiv"))
    assert [found.get("type") for tag, found in page.elements if tag == "script"] == ["application/json", "module"]
    own = b64encode(hashlib.sha256(page.scripts[1].encode()).digest()).decode()
    assert policy.split("; ") == [
        "default-src 'none'",
        "style-src 'unsafe-inline'",
        f"script-src 'sha256-{own}'",
        "base-uri 'none'",
        "form-action 'none'",
    ]


def test_only_figures_of_one_number_are_listed(page: Page):
    listed = {row[0]: row[1] for row in page.rows_of("more") if len(row) == 2}
    assert listed["jitter_sd"] == "0.1"
    assert "reasons" not in listed


def test_text_of_the_log_and_of_the_entity_stays_text():
    keys = [f"{ATTACK}|{number}|\u202e" for number in range(8)]
    bids = bid_table(8).assign(segment_key=keys, reason=ATTACK)
    changes = changed_bids(bids, every=1).assign(cause=ATTACK)
    attacked = read(
        story(
            entity_code=ATTACK,
            active_run_id=ATTACK,
            bids=bids,
            key_features=(ATTACK, "number", "mark"),
            spend=[SpendTable(ATTACK, is_expected=True, parts=parts(ATTACK, "\u202egnp"))],
            live=live_comparison(live=ComparedWith(ATTACK, {}, {}), savings=(ATTACK,), changes=changes),
            features=[feature(ATTACK, reason=ATTACK), feature("a$b$", is_selected=False), feature("<b>&amp;")],
            checks=[check(ATTACK, is_passed=False, message=ATTACK)],
            backtest=backtest(is_supported=False, reason=ATTACK),
            figures={**story().figures, ATTACK: ATTACK},
        )
    )
    tags = [tag for tag, _ in attacked.elements]
    assert {"img", "b"} & set(tags) == {"b"}
    assert (tags.count("script"), tags.count("style")) == (2, 1)
    assert not any(name.startswith("on") for _, attributes in attacked.elements for name in attributes)
    assert sum(row[0].startswith(ATTACK) for row in attacked.rows_of("changes")) == 1 + 8
    assert json.loads(attacked.scripts[0])["features"][0]["parts"] == [ATTACK]
    drawn = re.findall(r"<text[^>]*>([^<]*)</text>", attacked.source)
    assert "a$b$" in drawn and "&lt;b&gt;&amp;amp;" in drawn


def test_no_identifier_of_a_professional_can_reach_the_page(page: Page):
    assert re.findall(r"\b\d{10}\b", page.text + page.scripts[0]) == []
    assert not hasattr(story(), "npis")
    assert story().npi_multipliers.ndim == 1


def test_the_same_story_gives_the_same_bytes(page: Page):
    assert render_report(story()) == page.source


def test_twenty_thousand_segments_stay_under_a_megabyte_of_which_the_pictures_are_less_than_a_fifth(page: Page):
    bids = bid_table(20_000)
    large = read_words(story(bids=bids, live=live_comparison(changes=changed_bids(bids))))
    pictures = "".join(re.findall(r"<svg.*?</svg>", page.source, re.DOTALL))
    assert len(pictures.encode()) < 200_000
    assert len(large.source.encode()) < 800_000


def test_the_page_is_made_for_a_phone_and_for_the_dark(page: Page):
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in page.elements
    assert "prefers-color-scheme: dark" in page.styles
    drawn = set(re.findall(r"var\((--\w+)\)", page.source))
    for theme in page.styles.split(":root {")[1:]:
        assert drawn <= set(re.findall(r"(--\w+):", theme.split("}")[0]))


@pytest.mark.parametrize(
    "changes",
    [
        {"bids": without_active_run(bid_table()), "active_run_id": None, "live": None, "spend": ()},
        {"live": live_comparison(control=None, against_control={}, savings=(), changes=None)},
        {"live": live_comparison(changes=changed_bids(bid_table()).head(0))},
        {"live": live_comparison(live=ComparedWith("20260306_060000", {}, {}), changes=None, problem="they are gone")},
        {"bids": bid_table(1)},
        {"bids": without_bids(bid_table())},
        {"bids": without_bids(without_active_run(bid_table(1))), "active_run_id": None},
        {"bids": bid_table(3).assign(previous_bid_cpm=[np.nan, 10.0, np.nan], planned_bid_cpm=[9.0, np.nan, 8.0])},
        {"bids": bid_table(6).assign(trust_low_cpm=9.0, trust_high_cpm=9.0, mean_bid_cpm=np.nan)},
        {"calibration": [], "backtest": None, "domains": None, "npi_multipliers": None, "features": []},
        {"figures": dict.fromkeys(story().figures)},
        {"figures": {}},
        {"checks": []},
        {"npi_multipliers": np.ones(3)},
    ],
    ids=[
        "first run",
        "another key and no control",
        "no changes",
        "live run that cannot be read",
        "one segment",
        "no bids",
        "nothing at all",
        "no bid in both runs",
        "no width",
        "no extras",
        "unknown figures",
        "no figures",
        "no checks",
        "all multipliers one",
    ],
)
def test_a_story_with_gaps_still_makes_a_whole_page(changes):
    text = read_words(story(**changes)).text.lower()
    assert not re.search(r"\b(nan|none|inf)\b", text.replace("none was", ""))
