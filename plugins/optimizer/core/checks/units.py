"""Are prices, floors and revenue in the units of the contract? An amount in micros or cents is named."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from optimizer.core.checks.outcome import Check, Severity
from optimizer.core.checks.rules import Rule, by_name
from optimizer.core.config.settings import RunSettings
from optimizer.core.landscape.cells import weighted_quantile

FACTORS = {100.0: "cents", 1e3: "thousandths", 1e6: "micros"}
"""What an amount is in that is this many times as large as it should be."""

LARGEST_RATIO = 50.0
"""No floor, price or bid is as many times the median bid; the closest unit, cents, is 100 times."""

MOST_NAMED = 3
MAX_COST_OVER_BID = 1.1
RECENT_DAYS = 7

UNITS = (
    Rule(
        name="floor_unit",
        severity="hard",
        relation="<=",
        limit_text="0",
        problem="floor_cpm is in another unit than bid_cpm",
        next_step="convert floor_cpm to CPM in the load of BIDS",
    ),
    Rule(
        name="bid_unit",
        severity="hard",
        relation="<=",
        limit_text="0",
        problem="bid_cpm is not in CPM everywhere",
        next_step="convert bid_cpm to CPM in the load of BIDS",
    ),
    Rule(
        name="cost_unit",
        severity="hard",
        relation="<=",
        limit_text="0",
        problem="cost_cpm is in another unit than bid_cpm",
        next_step="convert cost_cpm to CPM in the load of VIEWS",
    ),
    Rule(
        name="cost_over_bid",
        severity="soft",
        relation="<=",
        limit_text="1.1",
        problem="wins cost more than was bid for them",
        next_step="check that cost_cpm holds the cleared price alone, without fees",
    ),
    Rule(
        name="revenue_unit",
        severity="hold",
        relation="<=",
        limit_text="0",
        problem="revenue is in another unit than cost",
        next_step="check that revenue is in currency units per event, not in micros, cents or CPM",
    ),
)

_RULES = by_name(UNITS)


def unit_checks(cells: pd.DataFrame, *, by: str, settings: RunSettings) -> list[Check]:
    """Return the checks of the amounts in the cells.

    Args:
        cells: of `optimizer.core.landscape.cells`, as extracted.
        by: the feature by whose values amounts are compared, the anchor.
    """
    values = _amounts(cells, by)
    bid = weighted_quantile(values["bid"], values["bids"], 0.5)
    return [
        _floor_check(values, by, settings),
        _bid_check(values, by, bid, settings),
        *_cost_checks(values, settings),
        *_revenue_check(values),
    ]


def unit_of(ratio: float) -> str:
    """Return what an amount looks like that is `ratio` times as large as it should be, and how to convert it."""
    size = ratio if ratio >= 1 else 1 / ratio
    factor = min(FACTORS, key=lambda known: abs(np.log(size / known)))
    if abs(np.log(size / factor)) > np.log(10):
        return f"is {ratio:.3g} times what it should be"
    if ratio >= 1:
        return f"looks like {FACTORS[factor]}: divide by {factor:,.0f}"
    return f"looks {factor:,.0f} times too small: multiply by {factor:,.0f}"


def _amounts(cells: pd.DataFrame, by: str) -> pd.DataFrame:
    """Median bid, median floor and their sums, by value of the feature."""
    bids, wins = cells["bids"].to_numpy(float), cells["wins"].to_numpy(float)
    bid = cells["bid_cpm_sum"].to_numpy(float) / bids
    rows = pd.DataFrame(
        {
            "value": cells[by].astype("object").where(cells[by].notna(), "null").to_numpy(),
            "bid": bid,
            "floor": cells["floor_cpm_max"].where(cells["floor_cpm_max"] > 0).to_numpy(float),
            "bids": bids,
            "wins": wins,
            "won_bid_sum": bid * wins,
            "cost_sum": cells["cost_cpm_sum"].to_numpy(float),
            "revenue": (cells["view_revenue"] + cells["click_revenue"]).to_numpy(float),
        }
    )
    groups = rows.groupby("value", sort=True)
    sums = groups[["bids", "wins", "won_bid_sum", "cost_sum", "revenue"]].sum()
    return sums.assign(bid=groups.apply(_median, "bid"), floor=groups.apply(_median, "floor"))


def _median(rows: pd.DataFrame, column: str) -> float:
    known = rows[rows[column].notna()]
    return weighted_quantile(known[column], known["bids"], 0.5) if len(known) else np.nan


def _floor_check(values: pd.DataFrame, by: str, settings: RunSettings) -> Check:
    """Floors that are far above bids which won: a true floor lets no such bid win."""
    floors = values[values["floor"].notna()]
    wrong = floors[(floors["floor"] > LARGEST_RATIO * floors["bid"]) & (floors["wins"] > 0)]
    problem = next_step = None
    if len(wrong):
        worst = wrong.iloc[int(wrong["bids"].argmax())]
        ratio = worst["floor"] / worst["bid"]
        problem = (
            f"floor_cpm of {by} {_names(wrong.index)} ({len(wrong)} of {len(floors)} values) {unit_of(ratio)} in the "
            f"load of BIDS (median {worst['floor']:,.7g}, against a median bid of {worst['bid']:,.3g}, which won)"
        )
        next_step = "load the window again and run again"
    severity: Severity = "hard" if settings.floor_available else "soft"
    return _RULES["floor_unit"].check(len(wrong), 0, problem=problem, next_step=next_step, severity=severity)


def _bid_check(values: pd.DataFrame, by: str, bid: float, settings: RunSettings) -> Check:
    """Bids of one value far from all others, or all far above what may be bid."""
    if bid > LARGEST_RATIO * settings.max_bid_cpm:
        problem = (
            f"bid_cpm {unit_of(bid / settings.max_bid_cpm)} in the load of BIDS (median {bid:,.6g}, against "
            f"max_bid_cpm={settings.max_bid_cpm:g})"
        )
        return _RULES["bid_unit"].check(len(values), 0, problem=problem, next_step="or correct max_bid_cpm")
    ratio = values["bid"] / bid
    wrong = values[(ratio > LARGEST_RATIO) | (ratio < 1 / LARGEST_RATIO)]
    if not len(wrong):
        return _RULES["bid_unit"].check(0, 0)
    worst = wrong.iloc[int(wrong["bids"].argmax())]
    problem = (
        f"bid_cpm of {by} {_names(wrong.index)} ({len(wrong)} of {len(values)} values) "
        f"{unit_of(worst['bid'] / bid)} in the load of BIDS (median {worst['bid']:,.6g}, against {bid:,.3g} overall)"
    )
    next_step = "load the window again and run again"
    return _RULES["bid_unit"].check(len(wrong), 0, problem=problem, next_step=next_step)


def _cost_checks(values: pd.DataFrame, settings: RunSettings) -> list[Check]:
    """What wins cost against what was bid for them: about the same in first-price auctions, never more."""
    cost, bid = values["cost_sum"].sum(), values["won_bid_sum"].sum()
    if not cost > 0 or not bid > 0:
        return []
    ratio = cost / bid
    is_small = settings.auction_type == "first_price" and ratio < 1 / LARGEST_RATIO
    is_wrong = is_small or ratio > LARGEST_RATIO
    problem = None
    if is_wrong:
        wins = values["wins"].sum()
        problem = (
            f"cost_cpm {unit_of(ratio)} in the load of VIEWS (mean {cost / wins:,.6g}, against a mean winning bid of "
            f"{bid / wins:,.3g})"
        )
    unit = _RULES["cost_unit"].check(int(is_wrong), 0, problem=problem)
    return [unit] if is_wrong else [unit, _RULES["cost_over_bid"].check(ratio, MAX_COST_OVER_BID)]


def _revenue_check(values: pd.DataFrame) -> list[Check]:
    """What wins earn against what they cost."""
    cost, revenue = values["cost_sum"].sum() / 1000, values["revenue"].sum()
    if not cost > 0 or not revenue > 0:
        return []
    ratio = revenue / cost
    is_wrong = ratio > LARGEST_RATIO or ratio < 1 / LARGEST_RATIO
    problem = None
    if is_wrong:
        problem = (
            f"revenue {unit_of(ratio)} in the load of VIEWS and CLICKS (wins earned {revenue:,.6g} and cost "
            f"{cost:,.6g} in currency units)"
        )
    return [_RULES["revenue_unit"].check(int(is_wrong), 0, problem=problem)]


def _names(values: Iterable[object]) -> str:
    names = [str(value) for value in values]
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more
