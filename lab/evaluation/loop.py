"""Daily runs one after another: each bids on the next day's auctions, and the next one learns from what that won."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta

import numpy as np

from lab.evaluation.cases import Case
from lab.evaluation.suggestion import suggestion_of
from lab.evaluation.trial import EarlierRun, TrialRun, run_trial
from lab.market.auctions import draw_requests
from lab.market.events import mean_bids, settle
from lab.market.outcome import expect_outcome
from lab.market.tables import concat_events
from optimizer.core.config.settings import RunSettings


@dataclass(frozen=True, slots=True)
class LoopDay:
    """One day of live bidding: the run that bid, and what its bids truly brought in expectation.

    expected_win_rate: what the run forecast; win_rate, cpm: the truth over that day's requests.
    """

    day: date
    run: TrialRun
    expected_win_rate: float
    win_rate: float
    cpm: float


def run_loop(case: Case, *, settings: RunSettings, live_days: int) -> Iterator[LoopDay]:
    """Yield the days after the case's log: each is bid by the run of its morning, which reads all days before."""
    world = case.create_world()
    per_day, events = case.bids // case.days, case.generate_log(world)
    earlier: list[EarlierRun] = []
    seen_bid_cpm = None
    for number in range(live_days):
        day = case.end_day + timedelta(days=number)
        log = replace(case, days=case.days + number).extract(world, events)
        run = run_trial(log, settings=settings, run_id=f"{day:%Y%m%d}_060000", earlier=earlier)
        earlier.append(run.as_earlier)
        requests = draw_requests(world, start_day=day, days=1, count=per_day, seed=case.seed, seen_bid_cpm=seen_bid_cpm)
        table = suggestion_of(run.priced, features=run.selection.features, run_id=run.run_id).table
        prices = table.price(world, requests)
        truth = expect_outcome(world, requests, prices=prices)
        numbers = np.unique(requests.day_number)
        seen_bid_cpm = mean_bids(world, requests, prices=prices, days=numbers)[-1]
        events = concat_events([events, settle(world, requests, prices=prices)])
        yield LoopDay(day, run, run.priced.figures.expected_win_rate, truth.win_rate, truth.cpm)
