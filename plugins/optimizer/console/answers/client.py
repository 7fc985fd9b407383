"""A client: its days against the targets, what is live, how the control does, what limits its bids, its runs."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta

import numpy as np
from pydantic import BaseModel

from optimizer.console.answers.clients import ClientRow, client_rows
from optimizer.console.context import Context
from optimizer.control_plane.deployment_history import read_splits
from optimizer.control_plane.entity_states import read_entity_states
from optimizer.control_plane.live_records import read_days, read_savings, read_verdicts
from optimizer.control_plane.live_rows import LiveDay, LiveDaySums, LiveSavings, LiveVerdict
from optimizer.control_plane.records import Run
from optimizer.control_plane.runs import list_runs
from optimizer.control_plane.splits import Split
from optimizer.core.landscape.binomial import wilson_interval
from optimizer.errors import UnknownEntity

SHOWN_DAYS = 90
RECENT_RUNS = 10


class ClientDay(BaseModel):
    """What all runs but the control brought on a UTC day, and the control beside them; money in currency units.

    win_rate_low, win_rate_high, ctr_low, ctr_high: 95 % Wilson intervals of this one day.
    click_maturity: the share of the day's clicks that has arrived; CTR and margin count those still coming. None where
        the delay of clicks is not known.
    forecast_win_rate, forecast_cpm: of the runs that were live, weighed by their bids.
    """

    day: date
    bids: int
    wins: int
    clicks: int
    spend: float | None
    win_rate: float | None
    win_rate_low: float | None
    win_rate_high: float | None
    cpm: float | None
    margin: float | None
    ctr: float | None
    ctr_low: float | None
    ctr_high: float | None
    click_maturity: float | None
    forecast_win_rate: float | None
    forecast_cpm: float | None
    control_win_rate: float | None
    control_cpm: float | None
    control_margin: float | None


class Mark(BaseModel):
    """When the split was changed, by whom, and to what."""

    at: datetime
    by: str
    split: dict[str, int]


class RecentRun(BaseModel):
    """A run in the client's list."""

    run_id: str
    status: str
    outcome: str | None
    trigger: str
    created_at: datetime
    completed_at: datetime | None
    problem: str | None


class Client(BaseModel):
    """What the client's overview shows.

    verdicts: of all runs but the control, as one policy: against their forecasts, and against the control.
    """

    client: ClientRow
    days: list[ClientDay]
    marks: list[Mark]
    verdicts: list[LiveVerdict]
    savings: list[LiveSavings]
    runs: list[RecentRun]


def read_client(asked: Context, entity_code: str) -> Client:
    """Return the client's overview; the statements are as many for one day as for a year.

    Raises:
        UnknownEntity: there is no such client.
    """
    engine, since = asked.systems.engine, asked.now.date() - timedelta(days=SHOWN_DAYS)
    state = next(iter(read_entity_states(engine, [entity_code])), None)
    if state is None:
        raise UnknownEntity(f"entity {entity_code!r} is not in opt_entities")
    splits = read_splits(engine, entity_code, limit=200)
    return Client(
        client=client_rows(asked, [state])[0],
        days=days_of(read_days(engine, entity_code, since=since), control_id=state.control_run_id),
        marks=[_mark(split) for split in splits if split.deployed_at.date() >= since][::-1],
        verdicts=[found for found in read_verdicts(engine, entity_code) if found.run_id is None],
        savings=read_savings(engine, entity_code),
        runs=[_recent(run) for run in list_runs(engine, entity_code=entity_code, limit=RECENT_RUNS)],
    )


def days_of(measured: Iterable[LiveDay], *, control_id: str | None) -> list[ClientDay]:
    """Return a row a day."""
    by_day: defaultdict[date, list[LiveDay]] = defaultdict(list)
    for row in measured:
        by_day[row.day].append(row)
    return [_day(day, rows, control_id) for day, rows in sorted(by_day.items())]


def _day(day: date, rows: Sequence[LiveDay], control_id: str | None) -> ClientDay:
    own = [row for row in rows if row.run_id != control_id]
    sums, control = _sums(day, own), _sums(day, [row for row in rows if row.run_id == control_id])
    win_low, win_high = _interval(sums.wins, sums.bids)
    click_low, click_high = _interval(sums.clicks, round(sums.click_views))
    return ClientDay(
        day=day,
        **{name: getattr(sums, name) for name in ("bids", "wins", "clicks", "spend")},
        **{name: getattr(sums, name) for name in ("win_rate", "cpm", "margin", "ctr")},
        win_rate_low=win_low,
        win_rate_high=win_high,
        ctr_low=click_low,
        ctr_high=click_high,
        click_maturity=_weighed([(row.click_maturity, row.wins) for row in own]),
        forecast_win_rate=_weighed([(row.forecast_win_rate, row.bids) for row in own]),
        forecast_cpm=_weighed([(row.forecast_cpm, row.wins) for row in own]),
        control_win_rate=control.win_rate,
        control_cpm=control.cpm,
        control_margin=control.margin,
    )


def _sums(day: date, rows: Sequence[LiveDay]) -> LiveDaySums:
    counts = {name: sum(getattr(row, name) for row in rows) for name in ("bids", "wins", "clicks")}
    money = {
        name: sum(getattr(row, name) or 0.0 for row in rows) for name in ("spend", "view_revenue", "click_revenue")
    }
    arrived = [1.0 if row.click_maturity is None else row.click_maturity for row in rows]

    def by_arrival(name: str) -> float:
        return sum((getattr(row, name) or 0.0) * share for row, share in zip(rows, arrived, strict=True))

    return LiveDaySums(
        day=day,
        **counts,
        **money,
        click_views=by_arrival("wins"),
        clicked_spend=by_arrival("spend"),
        clicked_view_revenue=by_arrival("view_revenue"),
    )


def _interval(hits: int, trials: int) -> tuple[float | None, float | None]:
    if trials == 0 or hits > trials:
        return None, None
    low, high = wilson_interval(np.float64(hits / trials), np.float64(trials))
    return float(low), float(high)


def _weighed(values: Sequence[tuple[float | None, int]]) -> float | None:
    """The mean of the values by weight; None where one that counts is not known."""
    counted = [(value, weight) for value, weight in values if weight > 0]
    if not counted or any(value is None for value, _ in counted):
        return None
    return sum((value or 0.0) * weight for value, weight in counted) / sum(weight for _, weight in counted)


def _mark(split: Split) -> Mark:
    return Mark(at=split.deployed_at, by=split.deployed_by, split=dict(split.percents))


def _recent(run: Run) -> RecentRun:
    return RecentRun(
        run_id=run.run_id,
        status=run.status_text,
        outcome=run.outcome,
        trigger=run.trigger_type,
        created_at=run.created_at,
        completed_at=run.completed_at,
        problem=run.error_message,
    )
