"""What a run says while it does not know yet how the win rate depends on the bid."""

from collections.abc import Mapping

from optimizer.core.landscape.slope import RANDOMISED_DAYS
from optimizer.core.records.variation import VariationRecord
from optimizer.presentation.formats import count, significant

Metrics = Mapping[str, Mapping[str, float | None]]
"""{section: {key: value}}, as in metrics.json and opt_run_metrics."""

TESTS = {
    "spread": "apart from what moved with the market or with a feature, no bid was varied",
    "serial_correlation": "bids that are high one day are high the next, so they may follow the rivals",
    "placebo": "tomorrow's bids explain today's wins, so bids followed what wins depend on",
    "hausman": "the slope changes when effects of segments and days are removed",
    "plausibility": "the win rate hardly rises with the bid, as where bids follow the rivals",
    "agreement": "this optimizer's jitter shows another slope",
}
"""Test of the logged bids: what it means that they failed it."""

_SOURCES = {
    "own": "this optimizer's jitter shows how the win rate depends on the bid",
    "logged": "the logged bids varied at random, and show how the win rate depends on the bid",
    "none": "no source of random variation alone shows how the win rate depends on the bid",
}


def learning_sentence(metrics: Metrics) -> str | None:
    """Return since when a run has been learning, what is missing, what it bids until then, and how long that takes.

    None where the run knows the slope, and for runs of older versions, which left no section `identification`.
    """
    figures = dict(metrics.get("identification") or {})
    if not figures.get("is_learning"):
        return None
    limit = (metrics.get("bidding") or {}).get("step_limit")
    step = "" if limit is None else f" within the daily step of {significant(100 * limit)} %"
    return (
        f"Learning since {_date(figures.get('learning_since'))}: the log does not show how the win rate depends on the "
        f"bid ({_missing(figures)}); bids are held at what was usually bid, with jitter{step}; {_duration(figures)}"
    )


def variation_sentence(variation: VariationRecord) -> str:
    """Return what of the log's bids varied at random: source, own jitter, slope, and each test that failed."""
    slope = variation.slope
    parts = [
        _SOURCES[variation.source],
        f"{count(variation.own_bids)} bids with this optimizer's jitter",
        f"{count(variation.logged_bids)} bids of others",
    ]
    if slope is not None and slope.value is not None and slope.error is not None:
        parts.append(f"slope {significant(slope.value)}, standard error {significant(slope.error, digits=2)}")
    for test in variation.tests:
        if not test.is_passed:
            figure = "not finite" if test.figure is None else significant(test.figure)
            parts.append(
                f"failed test {test.name}: {figure}, must be {test.relation} {significant(test.limit)}; "
                f"{TESTS[test.name]}"
            )
    return "; ".join(parts)


def _missing(figures: Mapping[str, float | None]) -> str:
    parts = [
        f"the logged bids failed the test {name}: {meaning}"
        for name, meaning in TESTS.items()
        if figures.get(f"{name}_passed") == 0
    ][:1]
    if own_days := figures.get("own_days"):
        days = "1 day", "is too little"
        if own_days > 1:
            days = f"{count(own_days)} days", "are too few"
        parts.append(f"{days[0]} of this optimizer's jitter {days[1]}")
    if not parts:
        parts.append("the logged bids varied too little" if figures.get("logged_bids") else "the log has no base bids")
    return "; ".join(parts)


def _date(number: float | None) -> str:
    text = "" if number is None else f"{number:.0f}"
    return f"{text[:4]}-{text[4:6]}-{text[6:]}" if len(text) == 8 else "this run"


def _duration(figures: Mapping[str, float | None]) -> str:
    days, per_day = figures.get("learning_days_left"), figures.get("bids_per_day") or 0.0
    traffic = f"at {count(per_day)} bids a day"
    if days is None:
        return f"{traffic} no number of days will show the slope; check traffic, win rate and floors"
    if days > RANDOMISED_DAYS:
        return (
            f"{traffic} the slope would take about {count(days)} days, and only the last {RANDOMISED_DAYS} count: give "
            "the entity more traffic, or turn on aggressive_exploration"
        )
    about = max(1, round(days))
    return f"the slope will probably be known in about {about} day{'' if about == 1 else 's'} {traffic}"
