"""Whether a run knows how the win rate depends on the bid, and when it will: figures for metrics.json."""

from datetime import date

from optimizer.core.landscape.jitter import LEARNING_JITTER_SD, days_until_identified
from optimizer.core.records.bid_figures import PricedFigures
from optimizer.core.records.variation import TestRecord, VariationRecord

IDENTIFICATION = "identification"
"""Section of metrics.json and opt_run_metrics, and the key of the same figures in the staged ones."""


def identification_figures(
    variation: VariationRecord, *, figures: PricedFigures, bids_per_day: float, today: date
) -> dict[str, float | None]:
    """Return the section `identification`: numbers only, flags as 0 or 1, a date as YYYYMMDD.

    Args:
        bids_per_day: expected of the next days.
        today: the day on which the run's jitter begins, where the log has none of it yet.
    """
    slope, is_learning = variation.slope, figures.is_learning
    days_left = (
        days_until_identified(
            None if slope is None else slope.slope,
            own_days=variation.own_days,
            bids_per_day=bids_per_day,
            win_rate=figures.expected_win_rate,
            jitter_sd=figures.jitter_spread or LEARNING_JITTER_SD,
        )
        if is_learning
        else 0.0
    )
    return {
        "is_learning": float(is_learning),
        "source_is_own": float(variation.source == "own"),
        "source_is_logged": float(variation.source == "logged"),
        "slope": None if slope is None else slope.value,
        "slope_error": None if slope is None else slope.error,
        "own_days": float(variation.own_days),
        "own_bids": variation.own_bids,
        "logged_bids": variation.logged_bids,
        "learning_since": _number(variation.own_since or today.isoformat()) if is_learning else None,
        "learning_days_left": days_left,
        "bids_per_day": bids_per_day,
        **{key: figure for test in variation.tests for key, figure in _test_figures(test)},
    }


def _number(day: str) -> float:
    return float(day.replace("-", ""))


def _test_figures(test: TestRecord) -> list[tuple[str, float | None]]:
    name = test.name
    return [(name, test.figure), (f"{name}_limit", test.limit), (f"{name}_passed", float(test.is_passed))]
