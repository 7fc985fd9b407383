"""Daily runs one after another: each bids on the next day's auctions, and the next one learns from what that won."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta

from optimizer.core.settings import RunSettings
from optimizer.simulation.auctions import draw_requests
from optimizer.simulation.epochs import Epoch, standard_epochs
from optimizer.simulation.events import generate_events, settle
from optimizer.simulation.outcome import expect_outcome
from optimizer.simulation.tables import concat_events
from optimizer.simulation.world import World
from optimizer.truth.cases import Case
from optimizer.truth.suggestion import suggestion_of
from optimizer.truth.trial import EarlierRun, TrialRun, run_trial


@dataclass(frozen=True, slots=True)
class LoopDay:
    """One day of live bidding: the run that bid, and what its bids truly brought in expectation.

    expected_win_rate: what the run promised; win_rate, cpm: the truth over that day's requests.
    """

    day: date
    run: TrialRun
    expected_win_rate: float
    win_rate: float
    cpm: float


def run_loop(case: Case, *, settings: RunSettings, live_days: int, history_days: int) -> Iterator[LoopDay]:
    """Yield `live_days` days: the log's first `history_days` are bid by its epochs, all later ones by our own runs.

    Each day's run reads the case's `days` days before it.
    """
    world = case.create_world()
    per_day = case.bids // case.days
    start = case.end_day - timedelta(days=history_days)
    events = generate_events(
        world, start_day=start, days=history_days, bids=per_day * history_days, dirt=case.dirt,
        epochs=_history(world, start, history_days),
    )  # fmt: skip
    earlier: list[EarlierRun] = []
    for number in range(live_days):
        day = case.end_day + timedelta(days=number)
        log = replace(case, days=case.days + number).extract(world, events)
        run = run_trial(log, settings=settings, run_id=f"{day:%Y%m%d}_060000", earlier=earlier)
        earlier.append(run.as_earlier)
        requests = draw_requests(world, start_day=day, days=1, count=per_day, seed=case.seed)
        table = suggestion_of(run.priced, features=run.selection.features, run_id=run.run_id).table
        prices = table.price(world, requests)
        truth = expect_outcome(world, requests, prices=prices)
        events = concat_events([events, settle(world, requests, prices=prices)])
        yield LoopDay(day, run, run.priced.figures["expected_win_rate"], truth.win_rate, truth.cpm)


def _history(world: World, start: date, days: int) -> list[Epoch]:
    return list(standard_epochs(world, start_day=start, days=days))
