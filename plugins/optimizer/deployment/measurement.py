"""What an entity's live runs brought on each day, against their forecasts and each other; nothing is written."""

import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import Engine

from optimizer.control_plane import deployment_history, live_records
from optimizer.control_plane.alerts import Incident
from optimizer.control_plane.live_rows import LiveDay
from optimizer.control_plane.records import Deployment, EntityDefinition
from optimizer.core.config.settings import RunSettings
from optimizer.core.frames import rows_of
from optimizer.core.landscape.click_delay import LONGEST_HOURS, ClickMaturity
from optimizer.core.live.click_views import judge_weighed
from optimizer.core.live.live_window import (
    MOST_OF_A_DAY,
    WHOLE_DAY,
    first_unsettled_day,
    live_days,
    mean_share,
    unbroken,
)
from optimizer.core.live.performance import (
    SUMS,
    Finding,
    ForecastFigures,
    Limits,
    against_control,
    against_forecast,
    forecast_of_bids,
    undecided,
)
from optimizer.core.live.spend_guard import Overspend, find_overspend
from optimizer.deployment.live_actions import LiveRun
from optimizer.deployment.split_watch import judge_split, mismatch, split_window
from optimizer.errors import ArtifactError, RunStateError
from optimizer.runs.published_run import read_published
from optimizer.runs.systems import Systems
from optimizer.warehouse.click_delays import read_many_click_maturities
from optimizer.warehouse.extraction import Window, Windows
from optimizer.warehouse.live_totals import COLUMNS, read_many_live_totals
from optimizer.warehouse.session import open_session
from optimizer.warehouse.split_counts import SplitCounts, read_many_split_counts

PART_OF_A_DAY = 1 / 24
"""The spend guard looks at a run that was live for this share of a day: its spend is judged by bids, not by hours."""

LONGEST_LOOK_DAYS = 30
"""This many days before today are looked at, at most."""

REREAD_DAYS = LONGEST_HOURS // 24
"""The figures of this many latest days are read again, whichever run was live: their clicks may still be coming."""

_A_MINUTE = 1 / 1440
"""A day is read again if a run was live for this share of it."""


@dataclass(frozen=True, slots=True)
class Measured:
    """The active runs, the largest share first, and the daily figures of every run that bid on these days.

    split_problem: how the traffic is not split as deployed, or None.
    """

    runs: tuple[LiveRun, ...] = ()
    days: tuple[LiveDay, ...] = ()
    split_problem: Incident | None = None


@dataclass(frozen=True, slots=True)
class _RunDays:
    """The settled UTC days on which a run was live: for most of the day, all day, and on the last day for an hour."""

    most: set[date]
    whole: set[date]
    last: set[date]


@dataclass(frozen=True, slots=True)
class _Forecasts:
    """What runs forecast: the active ones by their files, or why they cannot be read, and all that is known by run."""

    read: Mapping[str, tuple[ForecastFigures, str | None]]
    known: Mapping[str, ForecastFigures]


@dataclass(frozen=True, slots=True)
class LiveLog:
    """What the warehouse says: the totals by day and run, and the counts by which the split is checked.

    totals: COLUMNS, and click_maturity: the share of the day's clicks that has arrived, NaN where it is not known.
    """

    totals: pd.DataFrame = field(repr=False)
    split_counts: SplitCounts | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Look:
    """What is to be looked at of an entity: its runs, and what of the warehouse's log is needed for that.

    Attributes:
        active: its active deployments, the largest share first.
        history: its deployments of all times.
        days: the days of each active run.
        first_day: from when on the totals are needed; None where they are not.
        of_split: the time of the counts by which the split is checked; None where it is too young.
    """

    definition: EntityDefinition
    settings: RunSettings
    active: Sequence[Deployment]
    history: Sequence[Deployment]
    days: Mapping[str, _RunDays]
    first_day: date | None
    of_split: Window | None

    @property
    def object_id(self) -> int:
        return self.definition.entity.object_id

    @property
    def place(self) -> str:
        """The column of BIDS by which the split is counted too."""
        return self.settings.anchor_feature.lower()


def prepare_look(
    definition: EntityDefinition, active: Sequence[Deployment], *, settings: RunSettings, engine: Engine, now: datetime
) -> Look:
    """Return what is to be looked at; asks the control plane alone."""
    if not active:
        return Look(definition, settings, (), (), {}, None, None)
    code, end_day = definition.entity.entity_code, first_unsettled_day(now)
    history = deployment_history.read_history(engine, code, limit=1000)
    days = {row.run_id: _run_days(history, row.run_id, end_day=end_day) for row in active}
    every = set().union(*(run.most | run.last for run in days.values())) | _days_to_reread(history, end_day=end_day)
    of_split = split_window(
        active, object_id=definition.entity.object_id, end_day=end_day, longest=timedelta(days=LONGEST_LOOK_DAYS)
    )
    return Look(definition, settings, active, history, days, min(every, default=None), of_split)


def look_at(look: Look, log: LiveLog, *, systems: Systems, now: datetime) -> Measured:
    """Return what is found of each active run in the entity's log, as `read_logs` returns it.

    Raises:
        UnavailableError: the control plane or the object store is silent.
    """
    if not look.active:
        return Measured()
    code, active, history = look.definition.entity.entity_code, look.active, look.history
    split_problem = None
    if log.split_counts is not None:
        split_problem = mismatch(code, judge_split(log.split_counts, history=history, active=active))
    bidding = {row.run_id for row in history} & set(log.totals["run_id"])
    forecasts = _read_forecasts(code, active, bidding=bidding, systems=systems)
    by_log = _Judge(log, look.days, forecasts, active, settings=look.settings, split_problem=split_problem, now=now)
    found = tuple(by_log.judge(row) for row in active)
    return Measured(found, tuple(_daily_records(log.totals, history, forecasts=forecasts.known)), split_problem)


@dataclass(frozen=True, slots=True)
class _Judge:
    """Judges each active run by the same log."""

    log: LiveLog
    days: Mapping[str, _RunDays]
    forecasts: _Forecasts
    active: Sequence[Deployment]
    settings: RunSettings
    split_problem: Incident | None
    now: datetime

    @property
    def limits(self) -> Limits:
        return Limits(self.settings.monitor_min_days, self.settings.live_tolerance)

    def judge(self, row: Deployment) -> LiveRun:
        """Return what is found of the run."""
        run_id, (forecast, problem) = row.run_id, self.forecasts.read[row.run_id]
        control_id, days = _partner(row, self.active), self.days[row.run_id]
        own = _days_of(self.log.totals, run_id, days.most)
        controls = {other.run_id for other in self.active if other.source == "control"}
        return LiveRun(
            deployment=row,
            live_days=len(days.most),
            days=tuple(sorted(own["day"])),
            findings=judge_weighed(partial(against_forecast, forecast=forecast, limits=self.limits), own, now=self.now),
            control_id=control_id,
            is_beside_control=control_id in controls,
            control_findings=() if control_id is None else self._beside(run_id, control_id),
            problem=problem,
            overspend=_find_overspend(
                _days_of(self.log.totals, run_id, days.last),
                self.forecasts.known.get(run_id, forecast),
                max_overspend=self.settings.max_overspend,
            ),
        )

    def _beside(self, run_id: str, control_id: str) -> tuple[Finding, ...]:
        """The run against the other one; without a verdict while the traffic is not split as deployed."""

        def compare(totals: pd.DataFrame) -> tuple[Finding, ...]:
            return against_control(
                _days_of(totals, run_id, self.days[run_id].whole),
                _days_of(totals, control_id, self.days[control_id].whole),
                forecast=self.forecasts.read[run_id][0],
                control_forecast=self.forecasts.read[control_id][0],
                limits=self.limits,
            )

        found = judge_weighed(compare, self.log.totals, now=self.now)
        if self.split_problem is None:
            return found
        return tuple(undecided(finding, why="the traffic is not split as deployed") for finding in found)


def _partner(row: Deployment, active: Sequence[Deployment]) -> str | None:
    """The run to compare with: the largest other share but the control's, which is small; else the control."""
    others = [other for other in active if other.run_id != row.run_id]
    return next((other.run_id for other in sorted(others, key=lambda other: other.source == "control")), None)


def _run_days(history: Sequence[Deployment], run_id: str, *, end_day: date) -> _RunDays:
    spans = _spans(history, run_id)
    most, whole = (
        live_days(spans, end_day=end_day, days=LONGEST_LOOK_DAYS, least_share=share)
        for share in (MOST_OF_A_DAY, WHOLE_DAY)
    )
    return _RunDays(most, whole, live_days(spans, end_day=end_day, days=1, least_share=PART_OF_A_DAY))


def _days_to_reread(history: Sequence[Deployment], *, end_day: date) -> set[date]:
    """The latest days on which any run was live, those included that were replaced before they were looked at."""
    spans = [(row.deployed_at, row.deactivated_at) for row in history if _has_span(row)]
    return live_days(spans, end_day=end_day, days=REREAD_DAYS, least_share=_A_MINUTE)


def _spans(history: Sequence[Deployment], run_id: str) -> list[tuple[datetime, datetime | None]]:
    """From when to when the run has been live, since it was last off."""
    return unbroken((row.deployed_at, row.deactivated_at) for row in history if row.run_id == run_id and _has_span(row))


def _has_span(row: Deployment) -> bool:
    """Whether the row says from when to when it was live: other systems' SQL may end one without a time."""
    return row.is_active or row.deactivated_at is not None


def read_logs(looks: Sequence[Look], *, systems: Systems, now: datetime) -> list[LiveLog]:
    """Return the log of each look, in their order.

    Asks one query each for the totals and the delays of clicks of all entities, and one for the counts of the split for
    each column of places; none where nothing is needed.

    Raises:
        WarehouseError, UnavailableError: the warehouse cannot be read.
    """
    end_at = datetime.combine(first_unsettled_day(now), time(), UTC)
    starts = {look.object_id: datetime.combine(look.first_day, time(), UTC) for look in looks if look.first_day}
    splits: dict[str, dict[int, datetime]] = {}
    for look in looks:
        if look.of_split is not None:
            splits.setdefault(look.place, {})[look.object_id] = look.of_split.data_start_at
    totals: dict[int, pd.DataFrame] = {}
    counts: dict[int, SplitCounts] = {}
    if starts or splits:
        with closing(open_session(systems.connect_warehouse)) as connection:
            if starts:
                totals = _read_totals(connection, Windows(starts, end_at), now=now)
            for place, of_place in splits.items():
                counts |= read_many_split_counts(connection, windows=Windows(of_place, end_at), place=place)
    nothing = pd.DataFrame(columns=[*COLUMNS, "click_maturity"])
    return [LiveLog(totals.get(look.object_id, nothing), counts.get(look.object_id)) for look in looks]


def _read_totals(connection: Any, windows: Windows, *, now: datetime) -> dict[int, pd.DataFrame]:
    """{object_id: the totals of its settled days, with the share of the clicks that has arrived}."""
    found = read_many_live_totals(connection, windows=windows)
    maturities = read_many_click_maturities(
        connection, object_ids=windows.starts.keys(), end_at=windows.data_end_at, now=now
    )
    totals = {object_id: without_unloaded_day(table) for object_id, table in found.items()}
    return {
        object_id: table.assign(click_maturity=_maturity_of(table["day"], maturities[object_id]))
        for object_id, table in totals.items()
    }


def _maturity_of(days: pd.Series, maturity: ClickMaturity | None) -> pd.Series:
    """The maturity of each row's day; not known, NaN, while the log has too few clicks or cannot show late ones.

    All clicks of days before those that it was learned from have arrived.
    """
    if maturity is None or not maturity.is_whole:
        return pd.Series(np.nan, days.index)
    return days.map(lambda day: maturity.by_day.get(day, 1.0)).astype(float)


def without_unloaded_day(totals: pd.DataFrame) -> pd.DataFrame:
    """Return the totals without their last day where nothing at all was won on it: its views are not loaded yet."""
    last = totals["day"] == totals["day"].max()
    return totals[~last] if len(totals) and totals.loc[last, "wins"].sum() == 0 else totals


def _read_forecasts(
    entity_code: str, active: Sequence[Deployment], *, bidding: set[str], systems: Systems
) -> _Forecasts:
    """What the active runs forecast, and the entity's other runs that bid on these days."""
    read = {row.run_id: _read_forecast(row.run_id, systems) for row in active}
    known = recorded_forecasts(live_records.read_days(systems.engine, entity_code))
    known |= {run_id: forecast for run_id, (forecast, problem) in read.items() if problem is None}
    known |= {run_id: _read_forecast(run_id, systems)[0] for run_id in bidding - known.keys()}
    return _Forecasts(read, known)


def recorded_forecasts(days: Iterable[LiveDay]) -> dict[str, ForecastFigures]:
    """Return what each run forecast when it was measured before: its files may be gone, and it may be live no more."""
    return {
        day.run_id: ForecastFigures(day.forecast_win_rate, day.forecast_cpm, day.forecast_ctr, day.forecast_margin)
        for day in days
        if day.forecast_win_rate is not None
    }


def _read_forecast(run_id: str, systems: Systems) -> tuple[ForecastFigures, str | None]:
    """What the run's published bids forecast, or nothing and why."""
    try:
        return forecast_of_bids(read_published(run_id, engine=systems.engine, store=systems.store).bids), None
    except (ArtifactError, RunStateError) as error:
        return ForecastFigures(), f"the forecast of run {run_id} cannot be read: {error}"


def _daily_records(
    totals: pd.DataFrame, history: Sequence[Deployment], *, forecasts: Mapping[str, ForecastFigures]
) -> list[LiveDay]:
    """The rows of opt_live_daily, of the entity's runs alone: the log may hold bids of other systems' runs."""
    own = {row.run_id for row in history}
    records = []
    for day in rows_of(totals[totals["run_id"].isin(own)]):
        forecast = forecasts.get(day.run_id, ForecastFigures())
        spans = [
            (row.deployed_at, row.deactivated_at, row.traffic_pct)
            for row in history
            if row.run_id == day.run_id and _has_span(row)
        ]
        records.append(
            LiveDay(
                run_id=day.run_id,
                day=day.day,
                traffic_pct=mean_share(spans, day.day),
                **{name: getattr(day, name) for name in SUMS},
                click_maturity=None if math.isnan(day.click_maturity) else day.click_maturity,
                forecast_win_rate=forecast.win_rate,
                forecast_cpm=forecast.cpm,
                forecast_ctr=forecast.ctr,
                forecast_margin=forecast.margin,
            )
        )
    return records


def _days_of(totals: pd.DataFrame, run_id: str, days: set[date]) -> pd.DataFrame:
    return totals[(totals["run_id"] == run_id) & totals["day"].isin(days)]


def _find_overspend(days: pd.DataFrame, forecast: ForecastFigures, *, max_overspend: float) -> Overspend | None:
    """What the run overspent on these days, which are one at most."""
    day = days[["bids", "wins", "spend"]].sum()
    return find_overspend(
        bids=float(day["bids"]),
        wins=float(day["wins"]),
        spend=float(day["spend"]),
        forecast=forecast,
        max_overspend=max_overspend,
    )
