import numpy as np
from core.worlds import confounded_cells

from optimizer.core.cells import group_cells, prepare_cells
from optimizer.core.logit import fit_logit
from optimizer.core.slope import find_slope, judge_slope, randomised_rows

FEATURES = ["adspace", "region"]


def slope_of(raw):
    cells = randomised_rows(group_cells(prepare_cells(raw, FEATURES), FEATURES))
    return find_slope(cells, cells.groupby(FEATURES, observed=True).ngroup().to_numpy())


def naive_slope(raw):
    design = np.column_stack([np.ones(len(raw)), np.log(raw["bid_cpm_sum"])])
    return fit_logit(design, wins=raw["wins"].to_numpy(float), trials=np.ones(len(raw))).coefficients[1]


def test_jitter_identifies_the_slope_that_the_naive_fit_misses():
    found = [slope_of(confounded_cells(seed)) for seed in range(12)]
    assert all(naive_slope(confounded_cells(seed)) < 0.5 for seed in range(3))
    assert all(slope.is_identified for slope in found)
    assert sum(abs(slope.value - 2.0) <= 2.5 * slope.error for slope in found) >= 10


def test_without_jitter_there_is_no_slope():
    assert slope_of(confounded_cells(1, jitter_sd=0.0)) is None


def test_before_an_optimizer_bid_there_is_no_slope():
    raw = confounded_cells(1, bids=5_000).assign(base_bid_cpm_sum=np.nan, base_price_bucket=None)
    assert slope_of(raw) is None


def test_an_uncertain_slope_is_not_identified():
    assert judge_slope(2.0, 0.3).is_identified
    assert not judge_slope(2.0, 0.6).is_identified
    assert not judge_slope(0.1, 0.06).is_identified
