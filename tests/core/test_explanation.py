"""Every published number of a bid is shown, and the steps lead from the wanted bid to the suggested one."""

from dataclasses import asdict
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from core.priced_runs import FEATURES, LEVEL_CORRECTION, LINK, REFERENCE_CPM, PricedRun, price, segment_table
from scipy.special import expit

from optimizer.core.landscape.price_steps import PriceSteps
from optimizer.core.pricing.bid_bounds import BOUNDS
from optimizer.core.pricing.bid_steps import JITTER_MEAN, ROUND_PRICE, SETTLED, UNEXPLAINED
from optimizer.core.pricing.bids import NO_BID, REASONS
from optimizer.core.pricing.explanation import Explanation, explain_bid, find_segment
from optimizer.errors import DataError

POLICIES = {
    "portfolio": {},
    "a far target": {"target_win_rate": 0.9},
    "a near target": {"target_win_rate": 0.02},
    "every segment": {"win_rate_scope": "segment"},
    "second price": {"auction_type": "second_price"},
    "aggressive": {"aggressive_exploration": True},
    "a low cap": {"max_bid_cpm": 6.0},
    "no floors": {"floor_available": False},
    "a value that is not trusted": {"value_trust": 0.4},
    "a large margin": {"target_margin": 0.6},
    "a small step": {"daily_step_limit": 0.03},
    "a large step": {"daily_step_limit": 1.0},
    "round prices": {"steps": PriceSteps("0.50", 0.6), "target_win_rate": 0.2},
}


def some_held(**columns: Any) -> pd.DataFrame:
    """Segments of which every third has no known slope."""
    segments = segment_table(adspaces=5, regions=8)
    is_held = np.arange(len(segments)) % 3 == 0
    return segments.assign(is_held=is_held, is_slope_identified=~is_held, **columns)


TABLES = {
    "known slopes": segment_table(adspaces=5, regions=8),
    "some held": some_held(hidden_floor_cpm=np.arange(40) % 4 * 3.0),
    "hidden floors": segment_table(adspaces=5, regions=8).assign(
        hidden_floor_cpm=lambda frame: np.where(frame["adspace"] == frame["adspace"].iloc[0], 12.0, 0.0)
    ),
    "a first run": some_held(
        previous_bid_cpm=np.nan,
        kept_bid_cpm=np.nan,
        step_from_cpm=segment_table(adspaces=5, regions=8)["usual_bid_cpm"],
    ),
}


def explain(run: PricedRun, row: pd.Series) -> Explanation:
    return explain_bid(row, features=FEATURES, pricing=run.pricing, win_rate=run.landscape.win_rate)


def explain_all(run: PricedRun) -> list[Explanation]:
    return [explain(run, row) for _, row in run.bids.iterrows()]


def with_reason(run: PricedRun, reason: str) -> Explanation:
    return explain(run, run.bids[run.bids["reason"] == reason].iloc[0])


@cache
def explained(policy: str, table: str) -> tuple[PricedRun, list[Explanation]]:
    run = price(TABLES[table], **POLICIES[policy])
    return run, explain_all(run)


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("policy", POLICIES)
def test_the_steps_lead_from_the_wanted_over_the_planned_to_the_suggested_bid(policy, table):
    run, explanations = explained(policy, table)
    for (_, row), explanation in zip(run.bids.iterrows(), explanations, strict=True):
        names = [step.name for step in explanation.steps]
        assert names[0] == "wanted" and UNEXPLAINED not in names
        assert [name for name in names if name in BOUNDS] == list(BOUNDS)
        assert explanation.steps[0].bid_cpm == row["wanted_bid_cpm"]
        if row["reason"] == NO_BID:
            assert (names[-1], explanation.steps[-1].bid_cpm, explanation.steps[-1].win_rate) == (NO_BID, None, None)
            continue
        assert explanation.steps[-2].bid_cpm == pytest.approx(row["planned_bid_cpm"], rel=1e-6)
        assert explanation.steps[-1].bid_cpm == row["suggested_bid_cpm"]
        assert explanation.steps[-1].win_rate == pytest.approx(row["expected_win_rate"])


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("policy", POLICIES)
def test_the_reason_is_the_last_step_that_moved_the_bid(policy, table):
    for explanation in explained(policy, table)[1]:
        deciding = (*BOUNDS, "exploration", ROUND_PRICE)
        moving = [step.name for step in explanation.steps if step.has_moved and step.name in deciding]
        if explanation.reason in deciding:
            assert moving[-1] == explanation.reason
        elif explanation.reason != NO_BID:
            assert moving == []


def test_every_reason_is_met_by_these_policies_and_shown_in_its_own_words():
    runs = [explained(policy, table)[1] for policy in POLICIES for table in TABLES]
    texts = {explanation.reason: explanation.reason_text for explanations in runs for explanation in explanations}
    assert set(texts) == set(REASONS)
    assert not any(text.startswith("Bound by") for text in texts.values())
    assert all(text.endswith(".") and "nan" not in text for text in texts.values())


def falling_market(**values: float) -> pd.DataFrame:
    """Segments from those that hardly any bid wins to those that are won by low ones, bound by nothing."""
    unknown = dict.fromkeys(("value_cpm", "floor_cpm", "previous_bid_cpm", "step_from_cpm"), np.nan)
    segments = segment_table().assign(**unknown, trust_low_cpm=0.01, flatness=1.0, level_error=0.0)
    levels = np.linspace(-10.0, 2.0, len(segments))
    return segments.assign(**{"level": levels, "level_shift": 0.0, "trust_high_cpm": 200.0} | values)


def gain_of_less(run: PricedRun, row: pd.Series, worth_cpm: float) -> float:
    """Return what a slightly lower bid earns beyond the wanted one, as a share of what it saves."""
    bid = max(row["wanted_bid_cpm"], 1e-3) * np.array([0.97, 1.0])
    win_rate = run.landscape.win_rate(row["level"], row["slope"], bid)
    less, wanted = (worth_cpm - bid) * win_rate
    return (less - wanted) / ((bid[1] - bid[0]) * win_rate[1])


def tell_by_falling(run: PricedRun, reason: str, *, own_share: float | None = None) -> dict[bool, list[str]]:
    """Return the sentences of a reason, of bids that fall by degrees and of those that do not."""
    told: dict[bool, list[str]] = {True: [], False: []}
    for (_, row), explanation in zip(run.bids.iterrows(), explain_all(run), strict=True):
        if row["reason"] == reason:
            gain = gain_of_less(run, row, explanation.worth.worth_cpm)
            if not 0.01 < gain < 0.03:  # neither clearly falling nor clearly best
                told[gain > 0.02].append(explanation.reason_text)
    assert min(map(len, told.values())) >= 5
    return told


def test_a_bid_that_falls_by_degrees_is_not_called_the_best():
    told = tell_by_falling(price(falling_market(own_share=1.0), target_win_rate=0.2), "target")
    assert all("by degrees" in text and "best" not in text for text in told[True])
    assert all("is best where" in text and "by degrees" not in text for text in told[False])


def test_a_small_segment_whose_bid_falls_is_marked():
    told = tell_by_falling(price(falling_market(own_share=0.2), target_win_rate=0.2), "shrinkage")
    assert all("no bid against rivals pays" in text for text in told[True])
    assert not any("rivals" in text for text in told[False])


@pytest.mark.parametrize(
    ("reason", "bounds"),
    [("trust_band", {"trust_low_cpm": 7.0, "trust_high_cpm": 9.0}), ("step", {"step_from_cpm": 8.0})],
)
def test_a_bound_on_a_bid_that_falls_moved_what_was_wanted_not_the_best(reason: str, bounds: dict[str, float]):
    told = tell_by_falling(price(falling_market(**bounds), target_win_rate=0.2), reason)
    assert all(text.startswith("No bid against rivals pays here, and the wanted one was ") for text in told[True])
    assert all(text.startswith("The wanted bid was ") for text in told[False])


def test_without_a_floor_no_bid_is_not_put_down_to_one():
    run = price(segment_table().assign(floor_cpm=np.nan, value_cpm=0.005))
    assert set(run.bids["reason"]) == {NO_BID}
    told = {explanation.reason_text for explanation in explain_all(run)}
    assert told == {"No bid: nothing is left between its floor and what margin and cap allow."}


def test_a_bound_shows_its_edges_and_the_sentence_its_figures():
    run = price(segment_table())
    explanation = with_reason(run, "step")
    row = find_segment(run.bids, explanation.segment_key, run_id="x")
    step = next(step for step in explanation.steps if step.name == "step")
    before = row["step_from_cpm"]
    assert (step.low_cpm, step.high_cpm) == pytest.approx((1.04 * 0.85 * before, 1.15 * before / 1.04))
    assert step.bid_cpm in (step.low_cpm, step.high_cpm)
    assert abs(row["suggested_bid_cpm"] / before - 1) <= 0.15
    assert f"to {row['planned_bid_cpm']:.2f} CPM" in explanation.reason_text
    told = f"more than 15 % a day, jitter included, from the {before:.2f} CPM that was served before."
    assert explanation.reason_text.endswith(told)


def test_on_a_first_run_the_step_is_measured_from_what_was_usually_bid():
    explanation = with_reason(price(TABLES["a first run"]), "step")
    assert explanation.reason_text.endswith("CPM that was usually bid.")


def test_bounds_that_do_not_hold_have_no_edges():
    run = price(segment_table(), value_trust=0.4, floor_available=False)
    row = run.bids[run.bids["step_from_cpm"].isna()].iloc[0]
    edges = {step.name: (step.low_cpm, step.high_cpm) for step in explain(run, row).steps}
    assert {edges[name] for name in ("step", "floor", "margin")} == {(None, None)}
    assert edges["trust_band"] == (3.0, 22.0)


def test_a_held_bid_is_not_pulled_into_the_trust_band():
    bids = {"previous_bid_cpm": 25.0, "kept_bid_cpm": 25.0, "step_from_cpm": 25.0}
    for explanation in explain_all(price(held(**bids))):
        assert explanation.reason == "held"
        assert explanation.planned_bid_cpm == pytest.approx(25.0)
        assert explanation.reason_text.startswith("Held at 25.00 CPM, what was bid before: the log does not show")


def held(**columns: Any) -> pd.DataFrame:
    return segment_table().assign(**{"is_held": True, "floor_cpm": np.nan, "value_cpm": np.nan} | columns)


def test_a_held_bid_of_a_first_run_is_the_usual_one_and_is_marked():
    segments = held(previous_bid_cpm=np.nan, kept_bid_cpm=np.nan, usual_bid_cpm=9.0, step_from_cpm=9.0)
    for explanation in explain_all(price(segments, target_win_rate=0.9)):
        assert (explanation.reason, explanation.planned_bid_cpm) == ("held", pytest.approx(9.0))
        assert explanation.reason_text.startswith("Held at 9.00 CPM, what was usually bid: the log does not show")


def test_a_held_bid_whose_jitter_a_bound_cuts_off_shows_where_its_mean_goes():
    bids = {"previous_bid_cpm": 8.0, "kept_bid_cpm": 8.0, "step_from_cpm": 8.0}
    for explanation in explain_all(price(held(**bids), max_bid_cpm=8.4)):
        mean = next(step for step in explanation.steps if step.name == JITTER_MEAN)
        assert mean.bid_cpm == explanation.planned_bid_cpm < 8.0 and mean.has_moved
        assert f"8.00 CPM, what was bid before, and {mean.bid_cpm:.2f} CPM on average" in explanation.reason_text
        assert explanation.suggested_bid_cpm <= 8.4


def test_bounds_that_leave_no_room_between_them_settle_a_bid_where_served_bids_may_be():
    segments = segment_table().assign(floor_cpm=8.35, value_cpm=np.nan, step_from_cpm=np.nan)
    for explanation in explain_all(price(segments, max_bid_cpm=8.4)):
        names = [step.name for step in explanation.steps]
        assert names[-2:] == [SETTLED, "jitter"] and explanation.reason == "cap"
        assert 8.35 <= explanation.suggested_bid_cpm <= 8.4


def test_the_worth_of_a_win_is_the_trusted_share_of_the_value_after_margin_and_the_price_of_a_win():
    run = price(segment_table(), target_margin=0.25, value_trust=0.85)
    row = run.bids[run.bids["value_cpm"].notna()].iloc[0]
    worth = explain(run, row).worth
    assert worth.own_worth_cpm == pytest.approx(0.85 * 0.75 * row["value_cpm"])
    assert worth.worth_cpm == pytest.approx(worth.own_worth_cpm + run.pricing.shadow_price_cpm)
    best = run.landscape.best_response(np.array([row["level"]]), np.array([row["slope"]]), np.array([worth.worth_cpm]))
    assert best[0] == pytest.approx(row["wanted_bid_cpm"])


def test_an_unknown_value_is_none_and_counts_nothing():
    run = price(segment_table())
    worth = explain(run, run.bids[run.bids["value_cpm"].isna()].iloc[0]).worth
    assert (worth.value_cpm, worth.own_worth_cpm, worth.worth_cpm) == (None, 0.0, run.pricing.shadow_price_cpm)


def test_the_curve_adds_up_and_wins_at_the_reference_what_the_mixture_says():
    run = price(segment_table())
    for (_, row), explanation in zip(run.bids.iterrows(), explain_all(run), strict=True):
        curve = explanation.curve
        moved = curve.model_level + curve.level_shift + curve.level_correction
        assert curve.level == pytest.approx(moved / curve.flatness)
        assert (curve.level_correction, curve.flatness) == (LEVEL_CORRECTION, row["flatness"])
        assert curve.slope == pytest.approx(curve.model_slope / curve.flatness)
        against_rivals = LINK.shares @ expit(row["level"] + LINK.shifts)
        assert curve.win_rate_at_reference == pytest.approx(0.05 + 0.95 * float(against_rivals))
        assert (curve.reference_cpm, curve.own_share) == (REFERENCE_CPM, row["own_share"])


def test_features_come_back_unescaped_and_unknown_ones_as_none():
    run = price(segment_table())
    first, last = explain(run, run.bids.iloc[3]), explain(run, run.bids.iloc[-1])
    assert (first.segment_key, first.features) == ("a0|r%203%7C", {"adspace": "a0", "region": "r 3|"})
    assert last.features == {"adspace": "a0", "region": None}


def test_only_a_segment_without_a_bid_is_not_served_and_says_why():
    run = price(segment_table())
    for (_, row), explanation in zip(run.bids.iterrows(), explain_all(run), strict=True):
        assert explanation.is_served == row["is_served"] == (row["reason"] != NO_BID)
        assert (explanation.not_served_because is None) == row["is_served"]
    assert not run.bids["is_served"].all() and run.bids["is_served"].iloc[-1]


def test_an_explanation_holds_no_nan():
    def leaves(content):
        if isinstance(content, dict | list | tuple):
            for item in content.values() if isinstance(content, dict) else content:
                yield from leaves(item)
        else:
            yield content

    for explanation in explain_all(price(segment_table(), max_bid_cpm=6.0)):
        assert not any(isinstance(leaf, float) and np.isnan(leaf) for leaf in leaves(asdict(explanation)))


def test_an_unknown_key_names_the_nearest_keys_and_how_many_there_are():
    bids = price(segment_table()).bids
    with pytest.raises(DataError, match=r"'a0\|r 3' among its 120 keys; nearest are .*a0\|r%203%7C"):
        find_segment(bids, "a0|r 3", run_id="20260203_150000")
    with pytest.raises(DataError, match=r"run 20260203_150000 has no bid for segment 'ZZZZ' among its 120 keys; write"):
        find_segment(bids, "ZZZZ", run_id="20260203_150000")


def test_a_blocked_key_is_distinguished_from_a_wrong_one():
    bids, key = price(segment_table()).bids.iloc[1:], "a0|r%200%7C"
    with pytest.raises(DataError, match=r"run x blocks segment 'a0\|r%200%7C': .* bid of 0.*; compare its floor, max_"):
        find_segment(bids, key, run_id="x", blocked={key})
    with pytest.raises(DataError, match="run x has no bid for segment 'a0' among"):
        find_segment(bids, "a0", run_id="x", blocked={key})
