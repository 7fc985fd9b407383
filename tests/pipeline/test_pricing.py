"""Who is served, what everybody else gets, and what a new run is compared with."""

import numpy as np
import pandas as pd
import pytest

from optimizer.core.cells import prepare_cells
from optimizer.core.settings import RunSettings
from optimizer.pipeline.earlier_runs import PlannedBids, previous_bids
from optimizer.pipeline.pricing import ActiveBids, Learned, price_run, value_trust
from optimizer.training.job import TrainingReport

BLANK = {bool: False, int: 1, float: 0.0, str: "2026-01-05"}
REPORT = TrainingReport.model_validate(
    {name: BLANK.get(info.annotation) for name, info in TrainingReport.model_fields.items()}
    | {
        "reference_cpm": 8.0,
        "slope": 2.0,
        "bid_coefficient": 2.0,
        "calibration": [],
        "held_out": [],
        "served_bid_low_cpm": 1.0,
        "served_bid_high_cpm": 40.0,
    }
)
SETTINGS = RunSettings(max_bid_cpm=100.0)


def learned(size=40, report=REPORT, clicks=0, **columns) -> Learned:
    rng = np.random.default_rng(3)
    segments = pd.DataFrame(
        {
            "adspace": [f"a{number}" for number in range(size)],
            "bids": rng.integers(500, 5_000, size),
            "wins": 300,
            "clicks": 0,
            "bid_cpm_sum": 4_000.0,
            "level": rng.normal(-0.5, 0.8, size),
            "model_level": 0.0,
            "level_shift": 0.1,
            "level_error": 0.05,
            "effective_bids": 400.0,
            "slope": 2.0,
            "slope_error": 0.1,
            "is_slope_identified": True,
            "usual_bid_cpm": 8.0,
            "click_rate": 0.001,
            "floor_cpm": np.nan,
            "hidden_floor_cpm": 0.0,
        }
    ).assign(**columns)
    return Learned(segments, report, ["adspace"], None, None, clicks)


def priced(found=None, active=None, settings=SETTINGS):
    return price_run(found or learned(), settings=settings, active=active, run_id="20260204_060000")


def thin(size=40):
    return np.where(np.arange(size) % 2, 5.0, 400.0)


def test_what_is_not_served_is_bid_the_fallback_and_says_so():
    run = priced(learned(effective_bids=thin()))
    others = ~run.bids["is_served"]
    assert others[1::2].all() and not others[::2].any()
    assert set(run.bids.loc[others, "reason"]) == {"fallback"}
    assert set(run.bids.loc[others, "suggested_bid_cpm"]) == {run.figures["fallback_bid_cpm"]}
    assert run.figures["row_coverage"] == pytest.approx(run.bids["bids"][::2].sum() / run.bids["bids"].sum())


@pytest.mark.parametrize("auction_type", ["first_price", "second_price"])
def test_the_fallback_is_expected_to_cost_what_it_costs_and_not_what_its_jitter_would(auction_type):
    report = REPORT.model_copy(update={"value_per_mille_views": 30.0})
    settings = SETTINGS.model_copy(update={"auction_type": auction_type})
    run = priced(learned(report=report, effective_bids=thin()), settings=settings)
    others = run.bids[~run.bids["is_served"]]
    level, slope, bid = (others[name].to_numpy() for name in ("level", "slope", "suggested_bid_cpm"))
    cost = bid if auction_type == "first_price" else run.landscape.mean_price(level, slope, bid)
    assert others["expected_cost_cpm"].to_numpy() == pytest.approx(cost)
    assert others["expected_margin"].to_numpy() == pytest.approx(1 - cost / others["value_cpm"].to_numpy())


def test_the_target_is_reached_with_the_fallback_on_what_is_not_served():
    run = priced(learned(effective_bids=thin()))
    won = run.landscape.win_rate(
        run.bids["level"].to_numpy(), run.bids["slope"].to_numpy(), run.bids["planned_bid_cpm"].to_numpy()
    )
    assert np.average(won, weights=run.bids["bids"]) == pytest.approx(SETTINGS.target_win_rate, abs=1e-3)
    assert run.figures["expected_win_rate"] == pytest.approx(SETTINGS.target_win_rate, abs=1e-3)


def test_a_segment_that_may_not_be_bid_on_is_blocked_and_one_that_the_fallback_would_harm_is_served():
    report = REPORT.model_copy(update={"value_per_mille_views": 30.0})
    floors = np.full(40, np.nan)
    floors[0], floors[1] = 90.0, 15.0  # above what the margin leaves; above the fallback
    settings = SETTINGS.model_copy(update={"floor_available": True})
    run = priced(learned(report=report, effective_bids=5.0, floor_cpm=floors), settings=settings)
    first, second, third = (run.bids.iloc[number] for number in range(3))
    assert first["is_blocked"] and not first["is_served"] and np.isnan(first["suggested_bid_cpm"])
    assert second["is_served"] and second["suggested_bid_cpm"] >= 15.0 > run.figures["fallback_bid_cpm"]
    assert not third["is_served"] and third["reason"] == "fallback"
    assert run.figures["segments_in_memcache"] == 2


def test_no_served_bid_and_no_fallback_leaves_the_daily_step():
    active = ActiveBids({f"a{number}": 3.0 for number in range(40)}, fallback_cpm=3.0)
    run = priced(learned(effective_bids=thin()), active=active)
    assert run.bids["planned_bid_cpm"].between(3 * 0.85 - 0.01, 3 * 1.15 + 0.01).all()
    assert run.figures["fallback_bid_cpm"] <= 3.45
    assert run.figures["largest_step"] <= 0.15 + 1e-9


def test_an_unknown_slope_holds_the_active_runs_bids():
    active = ActiveBids({f"a{number}": 5.0 for number in range(40)}, fallback_cpm=5.0)
    run = priced(learned(is_slope_identified=False), active=active)
    assert set(run.bids["reason"]) == {"held"} and run.bids["planned_bid_cpm"].to_numpy() == pytest.approx(5.0)


def test_value_is_trusted_by_the_share_of_it_that_is_known():
    both = REPORT.model_copy(
        update={"global_click_rate": 0.001, "value_per_click": 10.0, "value_per_mille_views": 10.0}
    )
    assert value_trust(both, total_clicks=25) == pytest.approx(1 - 0.2 / 2)
    assert value_trust(both.model_copy(update={"value_per_mille_views": 0.0}), total_clicks=4) == pytest.approx(0.5)
    assert value_trust(both.model_copy(update={"value_per_click": 0.0}), total_clicks=0) == 1.0
    assert value_trust(REPORT, total_clicks=0) == 0.0


def cells(**columns) -> pd.DataFrame:
    raw = pd.DataFrame(
        {
            "day": "2026-01-05", "adspace": ["a", "a", "b", "b"], "os": ["ios", "android", "ios", None],
            "price_bucket": 40, "base_price_bucket": 40, "bids": [100, 300, 50, 50], "wins": 10, "clicks": 0,
            "bid_cpm_sum": 800.0, "base_bid_cpm_sum": 800.0, "cost_cpm_sum": 80.0, "view_revenue": 0.0,
            "click_revenue": 0.0, "floor_cpm_max": np.nan, "run_id": "r",
        }
    )  # fmt: skip
    return prepare_cells(raw.assign(**columns), ["adspace", "os"])


def test_the_active_runs_bids_are_found_by_the_same_key_and_its_fallback_elsewhere():
    active = PlannedBids(("adspace", "os"), {"a|ios": 4.0, "a|android": 9.0}, 6.0, {})
    found = previous_bids(active, cells(), ["adspace", "os"])
    assert found == pytest.approx({"a|ios": 4.0, "a|android": 9.0, "b|ios": 6.0, "b|%EMPTY": 6.0})


def test_under_another_key_a_segment_has_the_mean_of_the_bids_on_its_parts():
    active = PlannedBids(("os",), {"ios": 4.0, "android": 9.0}, 6.0, {})
    found = previous_bids(active, cells(), ["adspace"])
    assert found["a"] == pytest.approx(np.exp((100 * np.log(4) + 300 * np.log(9)) / 400))
    assert found["b"] == pytest.approx(np.sqrt(4.0 * 6.0))


def test_a_key_that_cannot_be_built_any_more_compares_with_nothing():
    assert previous_bids(PlannedBids(("browser",), {}, 6.0, {}), cells(), ["adspace"]) is None
