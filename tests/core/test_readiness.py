"""An entity's readiness in one word, from facts that are known."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from optimizer.core.config.settings import RunSettings
from optimizer.core.live.readiness import (
    READINESS_CODES,
    EndedRun,
    LearningState,
    LiveFinding,
    ReadinessFacts,
    assess_readiness,
)
from optimizer.core.pricing.target_reach import TargetReach

NOW = datetime(2026, 2, 4, 6, tzinfo=UTC)
SETTINGS = RunSettings(max_data_age_days=3, max_bid_cpm=30.0)
GOOD = EndedRun("good", NOW - timedelta(hours=1), datetime(2026, 2, 4, tzinfo=UTC))
BAD = EndedRun("bad", NOW, GOOD.window_end, problem="extract: the warehouse denied the login")
REACHED = TargetReach(0.5, 0.5, 0.7, {})
FACTS = ReadinessFacts(newest=GOOD, good=GOOD, settings=SETTINGS, reach=REACHED)


def missed(**shares: float) -> TargetReach:
    return TargetReach(0.5, 0.36, 0.37, shares)


def finding(verdict: str) -> LiveFinding:
    return LiveFinding("win_rate", verdict, "0.2, expected 0.36", date(2026, 2, 1))


def assess(**changes: object):
    return assess_readiness(replace(FACTS, **changes), now=NOW)


def test_without_an_ended_run_there_is_no_data():
    assert assess_readiness(ReadinessFacts(), now=NOW).word == "no data"


def test_a_newest_run_that_failed_is_said_with_the_run_that_can_still_be_live():
    found = assess(newest=BAD)
    assert found.word == "failed" and found.since == NOW.date()
    assert "the warehouse denied the login; run good is the newest that can be live" in found.sentence
    assert "nothing can be live" in assess(newest=BAD, good=None).sentence


def test_data_is_stale_a_day_after_its_greatest_age():
    end = NOW - timedelta(days=4)
    assert assess(good=replace(GOOD, window_end=end)).word == "on target"
    found = assess(good=replace(GOOD, window_end=end - timedelta(seconds=1)))
    assert (found.word, found.since) == ("stale", NOW.date())


def test_a_learning_run_says_since_and_until_about_when():
    found = assess(learning=LearningState(date(2026, 2, 1), 2.0))
    assert (found.word, found.since, found.until) == ("learning", date(2026, 2, 1), date(2026, 2, 6))
    for days_left in (None, 1e12):
        assert assess(learning=LearningState(None, days_left)).until is None


@pytest.mark.parametrize(
    ("shares", "word"),
    [
        ({"cap": 0.6, "margin": 0.3}, "limited by cap"),
        ({"floor": 0.2, "no_bid_floor": 0.2, "cap": 0.3}, "limited by floor"),
        ({"margin": 0.5, "held": 0.1}, "limited by margin"),
        ({"step": 0.2, "trust_band": 0.2, "held": 0.1, "cap": 0.3}, "limited by evidence"),
        ({}, "limited by evidence"),
    ],
)
def test_a_missed_target_is_named_after_what_limits_most_requests(shares: dict[str, float], word: str):
    found = assess(reach=missed(**shares))
    assert found.word == word
    assert list(found.limits.values()) == sorted(found.limits.values(), reverse=True)
    assert sum(found.limits.values()) == pytest.approx(sum(shares.values()))


def test_the_sentence_of_a_limit_has_the_share_and_what_to_do():
    sentence = assess(reach=missed(cap=0.62)).sentence
    assert "limited by max_bid_cpm=30 on 62% of requests" in sentence
    assert "raise max_bid_cpm or lower target_win_rate" in sentence


def test_a_live_run_below_its_forecast_is_off_target_whatever_its_bids_expect():
    for reach in (REACHED, missed(cap=0.6)):
        found = assess(reach=reach, findings=[finding("inconclusive"), finding("below target")])
        assert (found.word, found.since) == ("off target", date(2026, 2, 1))


def test_on_target_says_what_was_measured():
    assert assess().sentence.endswith("not measured live yet")
    assert assess(findings=[finding("on target")]).sentence.endswith("live figures are on target")
    assert assess(findings=[finding("inconclusive")]).sentence.endswith("live figures are inconclusive so far")


def test_a_run_of_an_earlier_release_leaves_no_figures():
    assert assess(reach=None).word == "no data"


def test_each_word_has_its_own_code():
    assert sorted(READINESS_CODES.values()) == list(range(len(READINESS_CODES)))
