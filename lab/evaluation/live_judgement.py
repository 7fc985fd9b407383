"""Whether live verdicts are right: for a run that bids what it published, and for one whose bids are halved."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from lab.evaluation.cases import Case
from lab.evaluation.suggestion import suggestion_of
from lab.evaluation.trial import TrialRun
from lab.market.auctions import Requests, draw_requests
from lab.market.events import serve
from lab.market.policies import BidTablePolicy
from lab.market.tables import Events
from lab.market.world import World
from optimizer.core.config.settings import RunSettings
from optimizer.core.live.performance import (
    SUMS,
    ForecastFigures,
    Limits,
    against_control,
    against_forecast,
    forecast_of_bids,
    overall,
)

LIVE_DAYS = 7
REQUESTS_A_DAY = 20_000
CANARY_SHARE = 0.1

_DEFAULTS = RunSettings()
LIMITS = Limits(_DEFAULTS.monitor_min_days, _DEFAULTS.live_tolerance)


@dataclass(frozen=True, slots=True)
class LiveVerdicts:
    """1 where the verdict was the right one.

    forecast_held: a run that bids what it published is on target.
    canary_held: the same on a tenth of the traffic beside itself holds.
    halved_found, halved_canary_found: with its bids halved it is below its forecast, and below the control.
    early_told: after two days nothing is said of either.
    """

    forecast_held: float
    canary_held: float
    halved_found: float
    halved_canary_found: float
    early_told: float


def judge_live(case: Case, world: World, run: TrialRun) -> LiveVerdicts:
    """Return how the days after the log are judged, on which the run's bids meet the market."""
    table = suggestion_of(run.priced, features=run.selection.features, run_id=run.run_id).table
    halved = replace(
        table,
        bids={key: bid / 2 for key, bid in table.bids.items()},
        fallback_bid_cpm=(table.fallback_bid_cpm or 0.0) / 2,
    )
    forecast, seed = _forecast(run), case.seed
    requests = draw_requests(
        world, start_day=case.end_day, days=LIVE_DAYS, count=LIVE_DAYS * REQUESTS_A_DAY, seed=seed + 3
    )
    is_canary = np.random.default_rng(seed).random(len(requests)) < CANARY_SHARE
    policies: Mapping[str, BidTablePolicy] = {"kept": table, "halved": halved}
    whole = {name: daily_totals(serve(world, requests, policy=policy)) for name, policy in policies.items()}
    canary = {
        name: daily_totals(serve(world, _pick(requests, is_canary), policy=policy)) for name, policy in policies.items()
    }
    rest = daily_totals(serve(world, _pick(requests, ~is_canary), policy=table))

    def alone(days: pd.DataFrame) -> str:
        return overall(against_forecast(days, forecast=forecast, limits=LIMITS))

    def beside(days: pd.DataFrame) -> str:
        forecasts = {"forecast": forecast, "control_forecast": forecast}
        return overall(against_control(days, rest, **forecasts, limits=LIMITS))

    return LiveVerdicts(
        forecast_held=float(alone(whole["kept"]) == "on target"),
        canary_held=float(beside(canary["kept"]) == "on target"),
        halved_found=float(alone(whole["halved"]) == "below target"),
        halved_canary_found=float(beside(canary["halved"]) == "below target"),
        early_told=float({alone(days.iloc[:2]) for days in whole.values()} == {"inconclusive"}),
    )


def daily_totals(events: Events) -> pd.DataFrame:
    """Return day and SUMS of events without dirt, as include/sql/snowflake/live_totals.sql counts them."""
    bids, views, clicks = (
        getattr(events, name).to_pandas().set_index("bid_id") for name in ("bids", "views", "clicks")
    )
    bids = bids[bids["bid_cpm"] > 0]
    joined = bids.join(views[["cost_cpm", "revenue"]]).join(clicks["revenue"].rename("click_revenue"))
    won = joined["cost_cpm"].notna()
    counted = pd.DataFrame(
        {
            "day": joined["bid_ts"].dt.date,
            "bids": 1.0,
            "wins": won.astype(float),
            "clicks": (won & joined["click_revenue"].notna()).astype(float),
            "spend": joined["cost_cpm"].fillna(0.0) / 1000,
            "view_revenue": joined["revenue"].fillna(0.0),
            "click_revenue": joined["click_revenue"].where(won).fillna(0.0),
        }
    )
    return counted.groupby("day")[list(SUMS)].sum().reset_index()


def _forecast(run: TrialRun) -> ForecastFigures:
    bids = run.priced.bids
    return forecast_of_bids(bids[bids["suggested_bid_cpm"].notna()].rename(columns={"click_rate": "modelled_ctr"}))


def _pick(requests: Requests, is_chosen: np.ndarray) -> Requests:
    return Requests(*(getattr(requests, name)[is_chosen] for name in Requests.__dataclass_fields__))
