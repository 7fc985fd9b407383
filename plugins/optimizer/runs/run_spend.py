"""The spend that a published run expects, by the values of each feature of its key."""

from dataclasses import dataclass

from optimizer.core.pricing.expected_spend import DailySpend, ValueSpend, largest_spend_by, total_spend
from optimizer.core.serving.keys import SEPARATOR, split_key
from optimizer.reporting.forecast import forecast_of
from optimizer.runs.published_run import PublishedRun
from optimizer.runs.report_inputs import spend_scale

MOST_VALUES = 10

EXPECTED_SPEND = "expected_spend_per_day"


@dataclass(frozen=True, slots=True)
class FeatureSpend:
    """The values of a feature with the largest spend; rest: the sum of the other `rest_values`."""

    feature: str
    largest: tuple[ValueSpend, ...]
    rest: DailySpend
    rest_values: int
    total: DailySpend


def spend_of_run(run: PublishedRun) -> tuple[FeatureSpend, ...]:
    """Return the spend a day by feature, in the order of the key; it sums to the run's forecast where it has one."""
    scale = spend_scale(run.bids, forecast_of(run.metrics).get(EXPECTED_SPEND))
    # The parts of a key stand for its values one to one, so only the values that are shown are read from them.
    keys = [key.split(SEPARATOR) for key in run.bids["segment_key"].tolist()]
    return tuple(
        _feature_spend(run, feature, [key[place] for key in keys], scale=scale)
        for place, feature in enumerate(run.features)
    )


def _feature_spend(run: PublishedRun, feature: str, parts: list[str], *, scale: float) -> FeatureSpend:
    found, rest, rest_values = largest_spend_by(run.bids, parts, most=MOST_VALUES, scale=scale)
    largest = tuple((split_key(part or "")[0], spend) for part, spend in found)
    return FeatureSpend(feature, largest, rest, rest_values, total_spend([*largest, (None, rest)]))
