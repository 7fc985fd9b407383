import numpy as np
import pytest
from core.checks.tables import LANDSCAPE, SETTINGS, bid_table

from optimizer.core.target_reach import TargetReach, limiting_shares, reachable_win_rate, target_sentence

SENTENCES = [
    (TargetReach(0.5, 0.498, 0.6, {}), None),
    (
        TargetReach(0.5, 0.36, 0.37, {"cap": 0.78, "margin": 0.1}),
        "target_win_rate 0.5 cannot be reached: at most 0.37 (limited by max_bid_cpm=30 on 78% of requests); raise "
        "max_bid_cpm or lower target_win_rate",
    ),
    (
        TargetReach(0.5, 0.36, 0.37, {"margin": 0.6}),
        "target_win_rate 0.5 cannot be reached: at most 0.37 (limited by target_margin=0.3 on 60% of requests); lower "
        "target_margin or lower target_win_rate",
    ),
    (
        TargetReach(0.5, 0.01, 0.01, {"no_bid_floor": 0.98}),
        "target_win_rate 0.5 cannot be reached: at most 0.01 (floors leave no room below max_bid_cpm and target_margin "
        "on 98% of requests); check floor_cpm in BIDS, raise max_bid_cpm, lower target_margin, or lower "
        "target_win_rate",
    ),
    (
        TargetReach(0.5, 0.3, 0.9, {"step": 0.78}),
        "target_win_rate 0.5 is not reached yet: 0.3 expected (limited by daily_step_limit=0.15 on 78% of requests); "
        "each daily run moves the bids closer; raise daily_step_limit to get there faster",
    ),
    (
        TargetReach(0.5, 0.3, None, {"held": 1.0}),
        "target_win_rate 0.5 is not reached yet: 0.3 expected (bids are held on 100% of requests, since the log does "
        "not show what a change would do); keep exploration_mode on: jittered bids show it",
    ),
]


@pytest.mark.parametrize(("reach", "sentence"), SENTENCES)
def test_a_missed_target_is_said_with_what_limits_it_and_what_to_do(reach: TargetReach, sentence: str | None):
    assert reach.sentence(SETTINGS) == sentence


@pytest.mark.parametrize(("reach", "sentence"), SENTENCES)
def test_the_sentence_comes_back_from_the_figures_of_a_run(reach: TargetReach, sentence: str | None):
    section = {
        "target_win_rate": reach.target_win_rate,
        "expected_win_rate": reach.expected_win_rate,
        "reachable_win_rate": reach.reachable_win_rate,
        **{f"share_{reason}": share for reason, share in reach.limiting_shares.items()},
    }
    assert target_sentence({"target": section}, SETTINGS) == sentence
    assert target_sentence({}, SETTINGS) is None


def test_what_can_be_reached_is_the_win_rate_at_the_cap():
    settings = SETTINGS.model_copy(update={"max_bid_cpm": 10.0})
    bids = bid_table(level=0.0)
    reached = reachable_win_rate(bids, landscape=LANDSCAPE, settings=settings, value_trust=0.0)
    assert reached == pytest.approx(0.5, abs=0.05)
    capped = reachable_win_rate(bids.assign(value_cpm=5.0), landscape=LANDSCAPE, settings=settings, value_trust=1.0)
    assert capped <= reached


def test_shares_count_requests():
    bids = bid_table(4).assign(bids=[1.0, 2.0, 3.0, 4.0], reason=["cap", "cap", "step", "target"])
    shares = limiting_shares(bids)
    assert (shares["cap"], shares["step"], shares["margin"]) == (pytest.approx(0.3), pytest.approx(0.3), 0.0)
    assert np.isclose(sum(shares.values()), 0.6)
