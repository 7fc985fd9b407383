"""Two published runs compared: what `optimizer diff` says, and how the bids that bidders find changed."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from optimizer.core.pricing.bids import NO_BID
from optimizer.core.pricing.run_comparison import Comparison, compare_runs
from optimizer.core.pricing.served_changes import served_changes
from optimizer.runs.published_run import PublishedRun
from optimizer.runs.report_inputs import spend_scale

TOP = 10
"""How many of the largest changes of planned bids a comparison names, as `optimizer diff` does."""


@dataclass(frozen=True, slots=True, eq=False)
class ComparedPair:
    """What changed from one run to another.

    changes: of `served_changes`, spend_change scaled to the later run's forecast of the spend a day; None where the
        segment keys differ.
    """

    comparison: Comparison
    changes: pd.DataFrame | None


def compare_published(before: PublishedRun, after: PublishedRun) -> ComparedPair:
    """Return what changed from the earlier run to the later one."""
    first, second = before.for_comparison(), after.for_comparison()
    comparison = compare_runs(first, second, top=TOP)
    if not comparison.has_same_keys:
        return ComparedPair(comparison, None)
    bids = _with_blocked(before, after)
    changes = served_changes(first, replace(second, bids=bids), served_before=before.served, landscape=after.landscape)
    scale = spend_scale(after.bids, _forecast_spend(after))
    return ComparedPair(comparison, changes.assign(spend_change=scale * changes["spend_change"]))


def _forecast_spend(run: PublishedRun) -> float | None:
    spend = (run.metrics.get("forecast") or {}).get("expected_spend_per_day")
    return None if spend is None else float(spend)


def _with_blocked(before: PublishedRun, after: PublishedRun) -> pd.DataFrame:
    """The later run's bids, and a row for each segment that it blocks and the earlier run bid on.

    The later run published nothing else of these; what they win is read from the earlier run's numbers.
    """
    gone = before.bids[before.bids["segment_key"].isin(after.blocked)]
    if gone.empty:
        return after.bids
    unbid = gone.assign(planned_bid_cpm=np.nan, suggested_bid_cpm=np.nan, reason=NO_BID, is_served=False)
    return pd.concat([after.bids, unbid], ignore_index=True)
