"""What a run says while it learns, rebuilt from its metrics alone."""

import re
from inspect import getsource

import pytest

from optimizer.core.landscape import jitter, randomness
from optimizer.core.landscape.jitter import Variation
from optimizer.core.landscape.randomness import RandomnessTest
from optimizer.core.landscape.slope import Slope
from optimizer.core.records.variation import VariationRecord
from optimizer.reporting.learning import TESTS, learning_sentence, variation_sentence

LEARNING = {
    "is_learning": 1.0,
    "learning_since": 20260203.0,
    "own_days": 0.0,
    "logged_bids": 90_000.0,
    "learning_days_left": 2.1,
    "bids_per_day": 5000.0,
    "spread_passed": 1.0,
    "serial_correlation_passed": 0.0,
}


def say(**changes: float | None) -> str:
    sentence = learning_sentence({"identification": LEARNING | changes, "bidding": {"step_limit": 0.15}})
    assert sentence is not None
    return sentence


def test_the_sentence_says_since_when_what_is_missing_what_is_bid_and_how_long():
    assert say() == (
        "Learning since 2026-02-03: the log does not show how the win rate depends on the bid (the logged bids failed "
        "the test serial_correlation: bids that are high one day are high the next, so they may follow the rivals); "
        "bids are held at what was usually bid, with jitter within the daily step of 15 %; the slope will probably be "
        "known in about 2 days at 5,000 bids a day"
    )


@pytest.mark.parametrize("metrics", [{}, {"identification": {}}, {"identification": {"is_learning": 0.0}}])
def test_a_run_that_knows_the_slope_or_is_of_an_older_version_says_nothing(metrics):
    assert learning_sentence(metrics) is None


@pytest.mark.parametrize("name", TESTS)
def test_each_failed_test_is_named_with_what_it_means(name: str):
    assert f"failed the test {name}: {TESTS[name]}" in say(**{"serial_correlation_passed": None, f"{name}_passed": 0.0})


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"own_days": 1.0}, "may follow the rivals; 1 day of this optimizer's jitter is too little)"),
        ({"own_days": 3.0}, "may follow the rivals; 3 days of this optimizer's jitter are too few)"),
        ({"serial_correlation_passed": 1.0}, "(the logged bids varied too little)"),
        ({"serial_correlation_passed": 1.0, "logged_bids": 0.0}, "(the log has no base bids)"),
        ({"learning_days_left": 1.0}, "in about 1 day at 5,000 bids a day"),
        ({"learning_days_left": None}, "no number of days will show the slope"),
        ({"learning_days_left": 80.0}, "would take about 80 days, and only the last 21 count"),
    ],
)
def test_the_sentence_fits_what_is_known(changes: dict[str, float | None], text: str):
    assert text in say(**changes)


def test_the_log_of_a_task_says_what_varied_at_random_and_names_each_test_that_failed():
    tests = (
        RandomnessTest("spread", 0.1, ">=", 0.015, is_passed=True),
        RandomnessTest("placebo", float("inf"), "<=", 0.25, is_passed=False),
    )
    found = Variation("none", Slope(1.2, 0.6, False), own_days=1, own_bids=4_000.0, logged_bids=60_000.0, tests=tests)
    assert variation_sentence(VariationRecord.of(found)) == (
        "no source of random variation alone shows how the win rate depends on the bid; 4,000 bids with "
        "this optimizer's jitter; 60,000 bids of others; slope 1.2, standard error 0.6; failed test placebo: not "
        "finite, must be <= 0.25; tomorrow's bids explain today's wins, so bids followed what wins depend on"
    )


@pytest.mark.parametrize("slope", [None, Slope(1.0, float("inf"), False)], ids=["nothing varied", "hardly a row"])
def test_the_log_of_a_task_leaves_out_a_slope_that_is_not_known(slope: Slope | None):
    assert "slope" not in variation_sentence(VariationRecord.of(Variation("none", slope, own_days=0, own_bids=0.0)))


def test_every_test_of_the_logged_bids_has_its_meaning():
    source = getsource(jitter) + getsource(randomness)
    made = re.findall(r'RandomnessTest\(\s*"(\w+)"', source)
    assert sorted(made) == sorted(TESTS)
