"""Whether backtest intervals hold what the new bids would truly have brought."""

from datetime import timedelta

import numpy as np
import pyarrow as pa

from lab.evaluation.cases import START_DAY, Case
from lab.market.auctions import Requests, draw_requests
from lab.market.epochs import standard_epochs
from lab.market.outcome import ExpectedOutcome, expect_outcome
from lab.market.policies import BidTablePolicy, compose_prices
from lab.market.world import World
from optimizer.core.pricing.backtest import Backtest

JITTER_NODES = (-1.0, 0.0, 1.0)
"""Factors that stand for a jitter: 1 and one deviation beside it, with the weights of the same variance."""

REQUESTS = 100_000


def share_covered(
    case: Case, world: World, backtest: Backtest, table: BidTablePolicy, *, jitter_sd: float, days: int
) -> float:
    """Return the share of the new policy's intervals (win rate, spend, CPM) that hold the truth of the replayed days.

    Args:
        table: the new run's planned bids; multipliers stay those that were logged, as in the backtest.
    """
    epoch = standard_epochs(world, start_day=START_DAY, days=case.days)[-1]
    first = case.end_day - timedelta(days=days)
    requests = draw_requests(world, start_day=first, days=days, count=REQUESTS, seed=case.seed + 2)
    logged, base = epoch.policy.price(world, requests), table.price(world, requests).base_bid_cpm
    outcomes = []
    for node in JITTER_NODES:
        prices = compose_prices(
            base * (1 + node * jitter_sd),
            domain_multiplier=logged.domain_multiplier,
            npi_multiplier=logged.npi_multiplier,
            run_id=pa.nulls(len(requests), pa.string()),
        )
        outcomes.append(expect_outcome(world, requests, prices=prices))
    truth = _average(outcomes, requests)
    held = [
        row.new_low
        <= truth[row.quantity] * (backtest.requests / REQUESTS if row.quantity == "spend" else 1.0)
        <= row.new_high
        for row in backtest.rows
        if row.quantity in truth
    ]
    return float(np.mean(held))


def _average(outcomes: list[ExpectedOutcome], requests: Requests) -> dict[str, float]:
    weights = (0.387, 0.226, 0.387)  # a normal truncated at 2 sd has .774 of its variance
    wins, cost = (
        sum(weight * getattr(outcome, name) for weight, outcome in zip(weights, outcomes, strict=True))
        for name in ("wins", "cost")
    )
    return {"win_rate": wins / len(requests), "spend": cost, "cpm": 1_000 * cost / wins}
