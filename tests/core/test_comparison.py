"""The parts of a change add up, and each carries what its input did and nothing else."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from core.priced_runs import LINK, PricedRun, price, segment_table

from optimizer.core.landscape.curves import Landscape, Link
from optimizer.core.pricing.run_comparison import PARTS, ComparedRun, compare_runs

BEFORE, AFTER = "20260203_150000", "20260204_150000"


WIDE = {"trust_low_cpm": 0.01, "trust_high_cpm": 10_000.0}


def unbounded(
    segments: pd.DataFrame, *, shadow_price: float = 20.0, reference_cpm: float = 8.0, link: Link = LINK
) -> PricedRun:
    """Return the run that bids what is best, whatever that is, at a shadow price of our own."""
    run = price(segments.assign(**WIDE), reference_cpm=reference_cpm, link=link)
    pricing = replace(run.pricing, shadow_price_cpm=shadow_price)
    share = pricing.value_trust * (1 - pricing.settings.target_margin)
    worth = share * segments["value_cpm"].fillna(0.0).to_numpy() + shadow_price
    best = run.landscape.best_response(segments["level"].to_numpy(), segments["slope"].to_numpy(), worth)
    best = np.maximum(best, 0.01)
    bids = run.bids.assign(planned_bid_cpm=best, suggested_bid_cpm=best.round(2), reason="target")
    return replace(run, bids=bids, pricing=pricing)


def compare(before: PricedRun, after: PricedRun, top: int = 1000, **fields):
    return compare_runs(before.compared(BEFORE, **fields), after.compared(AFTER, **fields), top=top)


def moved_parts(before: PricedRun, after: PricedRun) -> set[str]:
    """The parts that are not 0 on some segment."""
    changes = compare(before, after).segments.largest_changes
    assert len(changes) == 120
    return {part for part in PARTS if any(abs(change.parts[part]) > 1e-9 for change in changes)}


def test_runs_that_are_the_same_differ_in_nothing():
    run = price(segment_table())
    found = compare(run, run)
    assert found.has_same_keys and found.config == ()
    assert found.segments.mean_log_change == 0.0
    assert set(found.segments.mean_parts.values()) == {0.0}
    assert (found.segments.only_before.segments, found.segments.only_after.segments) == (0, 0)


@pytest.mark.parametrize(
    ("part", "after"),
    {
        "level": unbounded(segment_table().assign(level=lambda frame: frame["level"] + 0.3)),
        "shadow_price": unbounded(segment_table(), shadow_price=30.0),
        "value": unbounded(segment_table().assign(value_cpm=lambda frame: 1.2 * frame["value_cpm"])),
        "rule": unbounded(segment_table(), link=Link()),
    }.items(),
)
def test_one_input_that_changed_alone_explains_the_whole_change(part: str, after: PricedRun):
    assert moved_parts(unbounded(segment_table()), after) == {part}


def test_a_curve_that_only_turned_at_the_earlier_bid_is_a_change_of_the_slope():
    before = unbounded(segment_table())
    bid, old = before.bids["planned_bid_cpm"], before.bids["slope"]
    turned = segment_table().assign(slope=1.3 * old, level=before.bids["level"] - 0.3 * old * np.log(bid / 8.0))
    assert moved_parts(before, unbounded(turned)) == {"slope"}


def test_the_same_curve_measured_at_another_reference_bid_is_not_a_change():
    segments = segment_table()
    shifted = segments.assign(level=segments["level"] + segments["slope"] * np.log(11.0 / 8.0))
    assert moved_parts(unbounded(segments), unbounded(shifted, reference_cpm=11.0)) == set()


def test_a_value_that_is_trusted_less_or_margined_more_changes_the_value_part():
    before = unbounded(segment_table())
    for change in (
        {"value_trust": 0.5},
        {"settings": before.pricing.settings.model_copy(update={"target_margin": 0.5})},
    ):
        pricing = replace(before.pricing, **change)
        changes = compare(before, replace(before, pricing=pricing)).segments.largest_changes
        assert {part for part in PARTS for change in changes if abs(change.parts[part]) > 1e-9} == {"value", "bounds"}


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"target_win_rate": 0.6},
        {"max_bid_cpm": 7.0},
        {"target_margin": 0.6, "value_trust": 0.5},
        {"aggressive_exploration": True},
        {"reference_cpm": 5.0},
    ],
)
def test_the_parts_add_up_to_the_change_of_the_planned_bid_and_jitter_to_that_of_the_suggested(values):
    before, after = price(segment_table(0)), price(segment_table(3), run_id=AFTER, **values)
    found = compare(before, after)
    for change in found.segments.largest_changes:
        planned = np.log(change.planned_after_cpm / change.planned_before_cpm)
        suggested = np.log(change.suggested_after_cpm / change.suggested_before_cpm)
        assert change.log_change == pytest.approx(planned, abs=1e-12)
        assert sum(change.parts.values()) == pytest.approx(planned, abs=1e-12)
        assert change.log_change + change.jitter == pytest.approx(suggested, abs=1e-12)
    assert sum(found.segments.mean_parts.values()) == pytest.approx(found.segments.mean_log_change, abs=1e-12)


def test_where_both_runs_hold_a_bid_no_curve_or_price_explains_its_change():
    bids = {"is_held": True, "floor_cpm": np.nan, "value_cpm": np.nan, "step_from_cpm": np.nan}
    before = price(segment_table().assign(kept_bid_cpm=8.0, **bids))
    after = price(segment_table(3).assign(kept_bid_cpm=8.8, **bids), target_win_rate=0.6)
    changes = compare(before, after).segments.largest_changes
    assert len(changes) == 120
    for change in changes:
        assert change.parts["bounds"] == pytest.approx(np.log(8.8 / 8.0))
        assert {change.parts[part] for part in PARTS if part != "bounds"} == {0.0}


def test_a_cap_that_fell_alone_is_a_change_of_the_bounds_and_of_what_the_others_must_win():
    before, after = price(segment_table()), price(segment_table(), max_bid_cpm=7.0)
    changes = compare(before, after).segments.largest_changes
    capped = [change for change in changes if change.reason_after == "cap" and change.planned_before_cpm > 7.5]
    assert capped and all(change.parts["bounds"] < 0 < change.parts["shadow_price"] for change in capped)
    assert all(change.parts[part] == 0 for change in changes for part in ("level", "slope", "value", "rule"))


def test_best_bids_beyond_the_trust_band_count_nothing():
    far = segment_table().assign(level=12.0, value_cpm=np.nan)
    before, after = price(far, target_win_rate=0.3), price(far.assign(level=14.0), target_win_rate=0.3)
    assert (before.bids["wanted_bid_cpm"] < 3.0).all() and (after.bids["wanted_bid_cpm"] < 3.0).all()
    for change in compare(before, after).segments.largest_changes:
        assert set(change.parts.values()) == {0.0}


def test_the_largest_changes_are_those_of_requests_times_log_ratio():
    before, after = price(segment_table(0)), price(segment_table(3), run_id=AFTER)
    everything = compare(before, after).segments.largest_changes
    weights = [change.requests * abs(change.log_change) for change in everything]
    assert weights == sorted(weights, reverse=True)
    assert compare(before, after, top=4).segments.largest_changes == everything[:4]


def test_segments_of_one_run_alone_are_counted_with_their_requests():
    run, bids = price(segment_table()), price(segment_table()).bids
    found = compare(replace(run, bids=bids.iloc[5:]), replace(run, bids=bids.iloc[:-2])).segments
    unbid = bids["planned_bid_cpm"].isna()
    assert found.segments_in_both == (~unbid).iloc[5:-2].sum()
    alone, total = bids.iloc[:5][~unbid.iloc[:5]], bids.iloc[:-2][~unbid.iloc[:-2]]
    assert found.only_after.segments == len(alone)
    assert found.only_after.request_share == pytest.approx(alone["bids"].sum() / total["bids"].sum())
    assert found.only_after.largest == tuple(alone.sort_values("bids", ascending=False)["segment_key"])


def test_runs_with_no_segment_in_common_have_no_mean():
    run = price(segment_table())
    found = compare(replace(run, bids=run.bids.iloc[:50]), replace(run, bids=run.bids.iloc[50:])).segments
    assert (found.segments_in_both, found.mean_log_change, found.largest_changes) == (0, None, ())


def with_features(run: PricedRun, run_id: str, *features: str) -> ComparedRun:
    return run.compared(run_id, features=features)


def test_other_features_are_named_and_bids_are_compared_by_anchor_value():
    run = price(segment_table())
    raised = replace(run, bids=run.bids.assign(planned_bid_cpm=1.1 * run.bids["planned_bid_cpm"]))
    found = compare_runs(
        with_features(run, BEFORE, "adspace", "region"), with_features(raised, AFTER, "adspace", "os"), top=1000
    )
    assert (found.has_same_keys, found.segments) == (False, None)
    assert (found.features_gone, found.features_new) == (("region",), ("os",))
    assert {anchor.anchor_value for anchor in found.anchors} == set(run.bids["adspace"])
    biddable = run.bids.dropna(subset="planned_bid_cpm")
    for anchor in found.anchors:
        rows = biddable[biddable["adspace"] == anchor.anchor_value]
        mean = np.average(rows["planned_bid_cpm"], weights=rows["bids"])
        assert (anchor.before_cpm, anchor.after_cpm) == pytest.approx((mean, 1.1 * mean))


def test_the_same_features_in_another_order_make_other_keys_and_other_anchors_cannot_be_compared():
    run = price(segment_table())
    found = compare_runs(
        with_features(run, BEFORE, "adspace", "region"), with_features(run, AFTER, "region", "adspace"), top=10
    )
    assert (found.has_same_keys, found.segments, found.anchors) == (False, None, ())
    assert (found.features_gone, found.features_new) == ((), ())


def test_config_keys_that_differ_are_listed_with_both_values():
    found = compare(price(segment_table()), price(segment_table(), target_win_rate=0.4, max_bid_cpm=20.0))
    assert {(item.name, item.before, item.after) for item in found.config} == {
        ("target_win_rate", 0.3, 0.4),
        ("max_bid_cpm", 30.0, 20.0),
    }


def test_figures_of_both_runs_stand_side_by_side_and_checks_are_not_taken_for_figures():
    run = price(segment_table())
    before = run.compared(BEFORE, metrics={"validation": {"jitter_sd": 9.0}, "bidding": {"expected_cpm": 8.0}})
    after = run.compared(AFTER, metrics={"bidding": {"expected_cpm": 9.0, "expected_margin": 0.4}})
    figures = {item.name: (item.before, item.after) for item in compare_runs(before, after, top=1).figures}
    assert figures == {
        "entity": ("drugs_hcp", "drugs_hcp"),
        "expected_cpm": (8.0, 9.0),
        "expected_margin": (None, 0.4),
    }


def test_a_run_in_which_each_segment_reaches_the_target_is_recomputed_by_its_own_rule():
    segments = segment_table().assign(**WIDE)
    before = price(segments, target_win_rate=0.6)
    after = price(segments, run_id=AFTER, target_win_rate=0.6, win_rate_scope="segment")

    def inverse(level, slope, worth):
        return Landscape(8.0, LINK).bid_for_win_rate(level, slope, 0.6)

    found = compare_runs(before.compared(BEFORE), after.compared(AFTER, best_response=inverse), top=1000)
    wanted = [dict(zip(run.bids["segment_key"], run.bids["wanted_bid_cpm"], strict=True)) for run in (before, after)]
    for change in found.segments.largest_changes:
        key = change.segment_key
        assert change.parts["rule"] == pytest.approx(np.log(wanted[1][key] / wanted[0][key]))
        assert {change.parts[part] for part in ("level", "slope", "shadow_price", "value")} == {0.0}
