"""What a run says while it learns, rebuilt from its metrics alone."""

import pytest

from optimizer.reporting.learning import TESTS, learning_sentence

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
