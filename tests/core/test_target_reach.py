import numpy as np
import pytest
from core.checks.tables import LANDSCAPE, SETTINGS, bid_table

from optimizer.core.pricing.target_reach import TargetReach, measure_reach, target_sentence

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


def reach_of(bids, **settings) -> TargetReach:
    return measure_reach(
        bids,
        landscape=LANDSCAPE,
        settings=SETTINGS.model_copy(update=settings),
        value_trust=1.0,
        expected_win_rate=0.5,
    )


def test_what_can_be_reached_is_the_win_rate_at_cap_or_margin_with_the_share_that_each_ends():
    bids = bid_table(level=0.0, planned_bid_cpm=5.0)
    assert reach_of(bids, max_bid_cpm=10.0, target_win_rate=0.8).reachable_win_rate == pytest.approx(0.5)
    assert reach_of(bids, max_bid_cpm=10.0, target_win_rate=0.8).limiting_shares["cap"] == 1
    by_margin = reach_of(bids.assign(value_cpm=10.0), target_win_rate=0.8)
    assert by_margin.reachable_win_rate == pytest.approx(7**2 / (7**2 + 10**2))
    assert by_margin.limiting_shares["margin"] == 1


def test_if_bids_are_held_it_is_unknown_what_can_be_reached_and_learning_goes_on():
    held = reach_of(bid_table(reason="held"), target_win_rate=0.8)
    assert held.reachable_win_rate is None and held.limiting_shares["held"] == 1
    assert held.is_on_its_way


def test_blocked_segments_win_nothing():
    bids = bid_table(level=0.0, planned_bid_cpm=10.0)
    blocked = reach_of(bids.assign(planned_bid_cpm=np.nan, reason="no_bid_floor"))
    assert blocked.reachable_win_rate == 0 and blocked.limiting_shares["no_bid_floor"] == 1


def test_where_the_target_can_be_reached_only_reasons_of_bids_count():
    bids = bid_table(4, requests=[1.0, 2.0, 3.0, 4.0], reason=["cap", "cap", "step", "target"])
    shares = reach_of(bids).limiting_shares
    assert (shares["cap"], shares["step"], shares["margin"]) == (pytest.approx(0.3), pytest.approx(0.3), 0.0)
