"""The win-rate curve of one segment as a chart shows it."""

import math

import numpy as np
import pytest
from core.priced_runs import price, segment_table
from scipy.special import expit

from optimizer.core.landscape.curves import Landscape
from optimizer.core.pricing.segment_curve import segment_curve

REFERENCE, USUAL, LEVEL, SLOPE = 10.0, 12.0, -0.5, 2.0


def row(**changes):
    flatness = 1.0
    base = {
        "level": LEVEL / flatness,
        "slope": SLOPE / flatness,
        "flatness": flatness,
        "level_error": 0.1,
        "slope_error": 0.2,
        "usual_bid_cpm": USUAL,
        "wanted_bid_cpm": 15.0,
        "suggested_bid_cpm": 14.0,
        "recent_bids": 400.0,
        "recent_views": 150.0,
    }
    return base | changes


def test_the_interval_has_the_errors_of_level_and_slope_which_turns_at_the_usual_bid():
    curve = segment_curve(row(), Landscape(REFERENCE), level_sd=0.3)
    for bid, rate, low, high in zip(curve.bid_cpm, curve.win_rate, curve.low, curve.high, strict=True):
        logit = LEVEL + SLOPE * math.log(bid / REFERENCE)
        reach = 1.959964 * math.sqrt(0.1**2 + 0.3**2 + (0.2 * math.log(bid / USUAL)) ** 2)
        assert (rate, low, high) == pytest.approx((expit(logit), expit(logit - reach), expit(logit + reach)))
    widths = np.array(curve.high) - np.array(curve.low)
    assert widths[0] > 0 and curve.bid_cpm[0] < USUAL < curve.bid_cpm[-1]


def test_the_curve_is_flatter_than_the_curves_of_its_interval():
    flat = segment_curve(row(flatness=1.5), Landscape(REFERENCE))
    middle = [(low + high) / 2 for low, high in zip(flat.low, flat.high, strict=True)]
    assert np.ptp(flat.win_rate) < np.ptp(middle)


def test_what_was_seen_lately_has_its_interval_and_is_none_where_it_is_not_known():
    seen = segment_curve(row(), Landscape(REFERENCE)).seen
    assert (seen.bid_cpm, seen.win_rate, seen.bids) == (USUAL, 0.375, 400)
    assert seen.low < 0.375 < seen.high and seen.high - seen.low == pytest.approx(0.095, abs=0.01)
    older = {name: value for name, value in row().items() if not name.startswith("recent")}
    for without in (row(recent_bids=0.0), row(recent_views=math.nan), older):
        assert segment_curve(without, Landscape(REFERENCE)).seen is None


def test_a_slope_of_unknown_error_has_no_interval_away_from_the_usual_bid():
    curve = segment_curve(row(slope_error=math.inf), Landscape(REFERENCE))
    assert None not in curve.win_rate and set(curve.low) <= {None, 0.0} and set(curve.high) <= {None, 1.0}


def test_every_priced_segment_has_a_curve_through_its_bid():
    priced = price(segment_table())
    for _, one in priced.bids.dropna(subset="suggested_bid_cpm").iterrows():
        curve = segment_curve(one, priced.landscape)
        at_bid = np.interp(one["suggested_bid_cpm"], curve.bid_cpm, curve.win_rate)
        assert at_bid == pytest.approx(one["expected_win_rate"], abs=0.01)
