"""What varied at random in a log: small worlds of adspaces, regions and days whose slope is 2."""

import numpy as np
import pandas as pd
import pytest
from core.worlds import confounded_cells
from scipy.special import expit

from optimizer.core.landscape.cells import MISSING, OWN_JITTER, prepare_cells
from optimizer.core.landscape.jitter import Variation, find_bid_key, learn_variation
from optimizer.core.landscape.slope import find_slope, randomised_rows

FEATURES = ["adspace", "region"]
SLOPE = 2.0
ADSPACES, REGIONS, DAYS = 8, 6, 21
SHAPE = (ADSPACES, REGIONS, DAYS)


def world(
    seed: int,
    *,
    bids: int = 60,
    jitter: np.ndarray | float = 0.0,
    rivals: np.ndarray | float = 0.0,
    within_sd: float = 0.0,
    rows: int = 1,
    own_days: int = 0,
) -> pd.DataFrame:
    """Return prepared cells, `rows` a segment and day; logs of bids follow the segment's rivals, plus the jitter.

    Args:
        jitter, rivals: of each adspace, region and day, logs.
        within_sd: of the variation of the cells of one segment and day.
        own_days: that many latest days have planned bids on file and independent jitter of .1.
    """
    rng = np.random.default_rng(seed)
    adspace, region, day = (index.ravel().repeat(rows) for index in np.indices(SHAPE))
    usual = 0.8 * np.linspace(-0.6, 0.6, ADSPACES)[adspace] + 0.4 * np.linspace(-0.6, 0.6, REGIONS)[region]
    moved = np.broadcast_to(jitter, SHAPE)[adspace, region, day] + within_sd * rng.normal(size=len(day))
    is_own = day >= DAYS - own_days
    moved = np.where(is_own, 0.1 * rng.normal(size=SHAPE).clip(-2, 2)[adspace, region, day], moved)
    log_base = np.log(8) + usual + moved
    price = usual + np.broadcast_to(rivals, SHAPE)[adspace, region, day]
    won = rng.binomial(bids, expit(-0.5 + SLOPE * (log_base - np.log(8) - price)))
    bid = np.exp(log_base)
    frame = pd.DataFrame(
        {
            "day": pd.Timestamp("2026-01-05") + pd.to_timedelta(day, unit="D"),
            "adspace": "a" + pd.Series(adspace).astype(str),
            "region": "r" + pd.Series(region).astype(str),
            "bids": bids,
            "wins": won,
            "clicks": 0,
            "bid_cpm_sum": bids * bid,
            "base_bid_cpm_sum": bids * bid,
            "log_planned": np.where(is_own, np.log(8) + usual, np.nan),
        }
    )
    return prepare_cells(frame, FEATURES)


def noise(seed: int, sd: float) -> np.ndarray:
    return sd * np.random.default_rng(1_000 + seed).normal(size=SHAPE).clip(-2, 2)


def learn(cells: pd.DataFrame) -> Variation:
    return learn_variation(cells, FEATURES)[1]


def failed(cells: pd.DataFrame) -> set[str]:
    variation = learn(cells)
    assert (variation.source == "none") == bool(variation.failed)
    return {test.name for test in variation.failed}


def test_random_variation_passes_every_test_and_identifies_the_slope():
    found = [learn(world(seed, jitter=noise(seed, 0.1))) for seed in range(20)]
    assert sum(variation.source == "logged" for variation in found) >= 19
    assert sum(abs(variation.slope.value - SLOPE) <= 2 * variation.slope.error for variation in found) >= 17
    assert {variation.logged_key for variation in found} == {("adspace", "region")}
    names = ["spread", "serial_correlation", "placebo", "plausibility"]
    assert all([test.name for test in variation.tests] == names for variation in found)


def test_bids_that_moved_with_an_adspace_and_day_alone_were_not_varied():
    moved = np.broadcast_to(noise(1, 0.1)[:, :1], SHAPE)
    cells = world(1, jitter=moved, rivals=moved)
    assert failed(cells) == {"spread"}
    assert learn_variation(cells, FEATURES)[0]["log_planned"].isna().all()


def test_bids_that_moved_with_the_whole_market_were_not_varied():
    assert failed(world(1, jitter=np.broadcast_to(noise(1, 0.1)[:1, :1], SHAPE))) == {"spread"}


def wandering(seed: int, sd: float, memory: float) -> np.ndarray:
    """An AR(1) a segment."""
    steps = np.random.default_rng(seed).normal(size=SHAPE)
    walk = np.zeros(SHAPE)
    walk[..., 0] = steps[..., 0]
    for day in range(1, DAYS):
        walk[..., day] = memory * walk[..., day - 1] + np.sqrt(1 - memory**2) * steps[..., day]
    return sd * walk


@pytest.mark.parametrize("memory", [0.7, 0.95])
def test_bids_that_follow_the_rivals_of_their_segment_over_days_are_serially_correlated(memory):
    for seed in range(5):
        rivals = wandering(seed, 0.2, memory)
        assert "serial_correlation" in failed(world(seed, jitter=0.8 * rivals, rivals=rivals))


def test_bids_that_follow_the_rivals_of_the_day_before_fail_the_placebo():
    rivals = noise(3, 0.2)
    late = np.roll(rivals, 1, axis=2)
    assert failed(world(3, jitter=0.8 * late, rivals=rivals)) == {"placebo"}


def test_bids_whose_daily_part_follows_the_rivals_of_the_same_day_fail_the_hausman_test():
    rivals = noise(4, 0.15)
    cells = world(4, jitter=rivals, rivals=rivals, within_sd=0.1, rows=4, bids=40)
    assert failed(cells) == {"hausman"}
    assert "hausman" in {test.name for test in learn(world(4, jitter=noise(4, 0.1), within_sd=0.1, rows=4)).tests}


def test_independent_variation_within_segments_and_days_passes():
    rivals = noise(5, 0.15)
    variation = learn(world(5, jitter=noise(6, 0.1), rivals=rivals, within_sd=0.1, rows=4, bids=40))
    assert variation.source == "logged" and not variation.failed
    assert abs(variation.slope.value - SLOPE) <= 2.5 * variation.slope.error


def test_own_jitter_beats_logged_variation_that_contradicts_it():
    """No test can distinguish jitter that follows the rivals of its segment and day from random jitter."""
    rivals = noise(7, 0.15)
    cells, variation = learn_variation(world(7, jitter=rivals, rivals=rivals, own_days=9), FEATURES)
    assert {test.name for test in variation.failed} == {"agreement"} and variation.source == "own"
    assert abs(variation.slope.value - SLOPE) <= 2.5 * variation.slope.error
    assert variation.own_days == 9 and variation.own_bids == cells.loc[cells[OWN_JITTER], "bids"].sum()
    assert cells.loc[~cells[OWN_JITTER], "log_planned"].isna().all()


def test_own_jitter_that_identifies_nothing_yet_still_refutes_logged_variation():
    found = []
    for seed in range(8, 16):
        rivals = noise(seed, 0.15)
        found.append(learn(world(seed, jitter=rivals, rivals=rivals, own_days=2, bids=30)))
    assert not any(variation.failed for variation in found)
    assert sum(variation.source == "none" for variation in found) >= 7


def test_own_jitter_and_logged_variation_that_agree_are_pooled():
    cells, variation = learn_variation(world(9, jitter=noise(9, 0.1), own_days=9), FEATURES)
    own = learn_variation(world(9, jitter=0.0, own_days=9), FEATURES)[1]
    assert (variation.source, own.source) == ("logged", "own")
    assert variation.slope.error < 0.9 * own.slope.error
    assert abs(variation.slope.value - SLOPE) <= 2.5 * variation.slope.error
    assert len(randomised_rows(cells)) == len(cells)


def test_own_jitter_identifies_more_than_jitter_whose_plan_was_estimated():
    """With few days a segment, most of a jitter is in its segment's mean, which is known only of one's own."""
    errors = []
    for is_own in (True, False):
        cells = world(10, own_days=2).assign(**{OWN_JITTER: is_own})
        rows = randomised_rows(cells)
        segment = rows.groupby(FEATURES, observed=True).ngroup().to_numpy()
        errors.append(find_slope(rows, segment).error)
    assert errors[0] < 0.9 * errors[1]


def test_a_log_without_base_bids_has_nothing_to_learn_from():
    cells = world(1, jitter=noise(1, 0.1)).assign(log_base=np.nan)
    found, variation = learn_variation(cells, FEATURES)
    assert (variation.source, variation.slope, variation.tests) == ("none", None, ())
    assert not found[OWN_JITTER].any()


@pytest.mark.parametrize("values", [10, 5_000])
def test_a_column_of_random_values_changes_nothing(values):
    raw = confounded_cells(4, bids=20_000)
    raw["noise"] = "n" + pd.Series(np.random.default_rng(99).integers(0, values, len(raw))).astype(str)
    cells = prepare_cells(raw, [*FEATURES, "noise"])
    with_noise, without = (learn_variation(cells, names) for names in (["noise", *FEATURES], FEATURES))
    assert set(find_bid_key(cells, ["noise", *FEATURES])) == set(FEATURES)
    assert with_noise[1] == without[1] and without[1].source == "logged"
    pd.testing.assert_frame_equal(with_noise[0], without[0])


def test_a_feature_that_set_the_bids_by_half_a_percent_is_not_part_of_their_key():
    cells = world(2, jitter=np.broadcast_to(0.005 * np.arange(REGIONS)[None, :, None], SHAPE))
    assert find_bid_key(cells.assign(log_base=np.log(8.0)), FEATURES) == ()
    assert find_bid_key(cells, FEATURES) == ("adspace", "region")


def test_bids_on_null_values_are_left_out_since_their_plan_is_not_known():
    cells = world(11, jitter=noise(11, 0.1))
    rng = np.random.default_rng(11)
    is_null = (cells["region"] == "r0").to_numpy()
    # What is null was a region to the policy that bid on it: its bids differ by what the log does not show.
    mixed = cells["log_base"] + np.where(is_null, rng.choice([-0.5, 0.5], len(cells)), 0.0)
    masked = cells["region"].astype(object).mask(is_null, MISSING).astype("category")
    found, variation = learn_variation(cells.assign(region=masked, log_base=mixed), FEATURES)
    assert variation.source == "logged" and abs(variation.slope.value - SLOPE) <= 2.5 * variation.slope.error
    assert found.loc[is_null, "log_planned"].isna().all() and found.loc[~is_null, "log_planned"].notna().all()
    assert variation.logged_bids == cells.loc[~is_null, "bids"].sum()


def test_every_test_says_what_it_found_in_plain_values():
    for test in learn(world(1, jitter=noise(1, 0.1))).tests:
        assert isinstance(test.figure, float) and isinstance(test.is_passed, bool) and test.relation in ("<=", ">=")
        assert test.limit > 0
