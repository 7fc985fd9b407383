"""Do the multipliers of domains and NPIs keep their bounds and a mean of one?"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from optimizer.core.checks.outcome import Check
from optimizer.core.checks.rules import Rule, by_name
from optimizer.core.pricing.multipliers import MultiplierBounds

MAX_MEAN_ERROR = 0.001

MULTIPLIERS = (
    Rule(
        name="multipliers_outside_bounds",
        severity="hard",
        relation="<=",
        limit_text="0",
        problem="domain or NPI multipliers are missing or outside their bounds",
        next_step="do not use this run; clear compute_bids and the tasks after it",
    ),
    Rule(
        name="multiplier_mean_error",
        severity="hard",
        relation="<=",
        limit_text="0.001",
        problem="the request-weighted mean of the multipliers is not 1, so they move all bids",
        next_step="do not use this run; clear compute_bids and the tasks after it",
    ),
    Rule(
        name="duplicate_multipliers",
        severity="hard",
        relation="<=",
        limit_text="0",
        problem="a domain or NPI is empty or has two multipliers",
        next_step="do not use this run; clear compute_bids and the tasks after it",
    ),
)

_RULES = by_name(MULTIPLIERS)


def multiplier_checks(tables: Mapping[str, tuple[pd.DataFrame, MultiplierBounds]]) -> list[Check]:
    """Return the checks of the tables that the run publishes.

    Args:
        tables: key column -> table with that column, multiplier and bids (requests); and its bounds.
    """
    outside, doubled, mean_error = 0, 0, 0.0
    for key, (table, bounds) in tables.items():
        if table.empty:
            continue
        multiplier = table["multiplier"].to_numpy(float)
        inside = (multiplier >= bounds.low - 1e-9) & (multiplier <= bounds.high + 1e-9)
        outside += int((~inside).sum())
        doubled += int((table[key].duplicated() | table[key].isna() | (table[key].astype(str) == "")).sum())
        mean = np.average(multiplier, weights=table["bids"].to_numpy(float))
        mean_error = float(np.fmax(mean_error, abs(mean - 1) if np.isfinite(mean) else np.inf))
    return [
        _RULES["multipliers_outside_bounds"].check(outside, 0),
        _RULES["multiplier_mean_error"].check(mean_error, MAX_MEAN_ERROR),
        _RULES["duplicate_multipliers"].check(doubled, 0),
    ]
