"""The pictures: what they draw, seen in the points of their lines and the words beside them."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from reporting.stories import bid_table, feature, story, without_active_run, without_bids
from scipy.stats import binomtest

from optimizer.core.landscape.binomial import wilson_interval
from optimizer.presentation.formats import percent
from optimizer.reporting import bid_figures, model_figures
from optimizer.reporting.drawing import WIDTH, draw_axes, plain_label


def words(picture: str) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", picture)


def test_intervals_are_those_of_wilson():
    wins, trials = np.array([0, 3, 500, 40]), np.array([10, 8, 1000, 40])
    low, high = wilson_interval(wins / trials, trials)
    expected = [
        binomtest(k, n).proportion_ci(0.95, "wilson") for k, n in zip(wins.tolist(), trials.tolist(), strict=True)
    ]
    assert low == pytest.approx([interval.low for interval in expected])
    assert high == pytest.approx([interval.high for interval in expected])


def test_the_coverage_says_that_the_gap_gets_no_bid():
    table = bid_table(4).assign(is_served=[True, True, False, False], suggested_bid_cpm=[9.0, 8.0, 7.0, np.nan])
    assert bid_figures.coverage(story(bids=table)).caption.endswith("traffic that gets no bid.")


def test_a_bar_of_the_reasons_says_its_share_of_requests_and_of_segments():
    table = bid_table(4).assign(bids=[600, 200, 150, 50], reason=["target", "step", "step", "cap"])
    panel = bid_figures.reason_shares(story(bids=table))
    shown = words(panel.picture)
    assert [word for word in shown if word.endswith("%")] == [
        percent(share) for share in (0.25, 0.50, 0.25, 0.05, 0.35, 0.60)
    ]
    assert {"target", "step", "cap"} <= set(shown)


def test_the_served_share_of_requests_is_named_and_drawn():
    table = bid_table(4).assign(bids=[600, 200, 150, 50], is_served=[True, False, True, False])
    panel = bid_figures.coverage(story(bids=table))
    assert ("now", f"2 segments served, {percent(0.75)}") in panel.legend


def test_the_largest_segments_come_first_each_with_its_own_curve_and_bid():
    table = bid_table(9).sample(frac=1, random_state=3)
    panels = model_figures.win_rate_curves(story(bids=table))
    largest = table.nlargest(6, "bids")
    assert [panel.title for panel in panels] == largest["segment_key"].tolist()
    for panel, segment in zip(panels, largest.itertuples(), strict=True):
        assert (
            f"at {segment.suggested_bid_cpm:.2f} expected to win {percent(segment.expected_win_rate)}" in panel.caption
        )
        assert f"won {percent(segment.wins / segment.bids)}" in panel.caption


def test_the_suggested_bid_is_on_the_curve():
    table = bid_table(1).assign(level=0.0, slope=2.0, suggested_bid_cpm=10.0, expected_win_rate=0.5, mean_bid_cpm=8.0)
    (panel,) = model_figures.win_rate_curves(story(bids=table))
    lines = re.findall(r'd="([^"]*)" clip-path[^>]*stroke: var\(--accent\)', panel.picture)
    curve, stem = (np.array(re.findall(r"[ML] (\S+) (\S+)", line), float) for line in lines)
    assert stem[0, 0] == stem[1, 0]
    assert np.interp(stem[1, 0], curve[:, 0], curve[:, 1]) == pytest.approx(stem[1, 1], abs=0.1)


def test_pictures_take_the_colours_and_the_font_of_the_page():
    panel = bid_figures.bid_distribution(story())
    assert "font-family" not in panel.picture
    assert re.findall(r"#[0-9a-f]{6}", panel.picture) == []
    assert f'viewBox="0 0 {WIDTH} ' in panel.picture


def test_a_colour_that_no_page_has_is_refused():
    with pytest.raises(KeyError, match="#123456"):
        draw_axes(lambda axes: axes.plot([0, 1], color="#123456"), name="odd", label="odd")


def test_without_an_active_run_the_distribution_shows_one_run_with_a_note():
    panel = bid_figures.bid_distribution(story(bids=without_active_run(bid_table()), active_run_id=None))
    assert panel.legend == ()
    assert "no bid of an active run" in panel.caption
    assert "--before" not in panel.picture


def test_without_any_bid_there_is_a_sentence_in_the_place_of_the_distribution():
    panel = bid_figures.bid_distribution(story(bids=without_bids(bid_table())))
    assert panel.picture is None
    assert "No segment can be bid on" in panel.caption


@pytest.mark.parametrize("name", ["calibration", "feature_signals"])
def test_what_a_run_did_not_leave_is_a_sentence(name):
    panel = getattr(model_figures, name)(story(calibration=[], features=[]))
    assert panel.picture is None
    assert panel.caption.endswith(".")


def test_multipliers_are_counted_and_only_drawn_where_a_run_has_them():
    domains, npis = bid_figures.multiplier_distributions(story())
    assert domains.caption.startswith("2 domains")
    assert npis.caption.startswith("500 identified professionals")
    assert bid_figures.multiplier_distributions(story(domains=None, npi_multipliers=None)) == []
    empty = replace(
        story(), domains=pd.DataFrame({"domain": [], "multiplier": [], "bids": []}), npi_multipliers=np.empty(0)
    )
    assert [panel.picture for panel in bid_figures.multiplier_distributions(empty)] == [None, None]


def test_features_that_were_never_tried_have_no_gain_to_draw():
    features = [feature("anchor_id", is_anchor=True, signal_score=None, gain=None, gain_lower=None)]
    panel = model_figures.feature_signals(story(features=features))
    assert {"anchor_id", "anchor"} <= set(words(panel.picture))


@pytest.mark.parametrize(
    ("text", "label"),
    [("os_code", "os_code"), ("x" * 40, "x" * 20 + ".."), ("über\x00\x1b", "?ber??"), ("$x^2$", "$x^2$")],
)
def test_a_label_is_what_every_font_can_draw(text, label):
    assert plain_label(text) == label
