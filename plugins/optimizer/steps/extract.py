"""extract: the window's totals and cells, from the warehouse to the run's staging prefix."""

import logging
from collections.abc import Callable, Collection
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

import pandas as pd

from optimizer.control_plane import runs
from optimizer.core.frames import rows_of
from optimizer.core.landscape.cells import DAY_SPAN, count_days
from optimizer.core.landscape.slope import RANDOMISED_DAYS
from optimizer.core.records import run_files
from optimizer.core.records.coarse_cells import CoarseCells
from optimizer.core.records.config_snapshot import ConfigSnapshot
from optimizer.core.records.window_totals import DayCount, StagedLog
from optimizer.reporting.coarse_cells import coarse_sentence
from optimizer.runs import artifacts, staging
from optimizer.runs.bounded_cells import SegmentLog, plan_multiplier_cells, plan_segment_cells
from optimizer.runs.handle import RunHandle, read_snapshot
from optimizer.runs.planned_bids import stage_planned_bids, with_planned_bids
from optimizer.runs.systems import Systems
from optimizer.warehouse.click_delays import read_click_maturity
from optimizer.warehouse.contract import check_contract
from optimizer.warehouse.extraction import (
    Window,
    extract_domain_cells,
    extract_npi_totals,
    read_totals,
)
from optimizer.warehouse.session import open_session
from optimizer.warehouse.session_costs import read_session_costs

log = logging.getLogger(__name__)


def extract(run: RunHandle, *, systems: Systems) -> dict[str, Any]:
    """Leave the window's totals and cells in the staging prefix; return how much was read.

    A run reads the log once: the totals are written last, and a later try leaves them as they are, so that all steps of
    the run see the same log.

    Raises:
        WarehouseError: login, table or column; EmptyWindowError: no bids in the window.
    """
    stage = run.staging(systems)
    if not stage.has(run_files.TOTALS):
        found = _read_log(read_snapshot(run, systems), systems, stage)
        artifacts.TOTALS.write(stage, found)
    found = artifacts.TOTALS.read(stage)
    if found.coarse is not None:
        log.warning("run %s of %s: %s", run.run_id, run.entity_code, coarse_sentence(found.coarse))
    return {"usable_bids": found.usable_bids, "rows": found.rows}


def _read_log(snapshot: ConfigSnapshot, systems: Systems, stage: staging.Staging) -> StagedLog:
    """The totals of the window, with the names of the staged cells; every try has file names of its own."""
    settings, inputs = snapshot.settings, snapshot.inputs
    window = Window(object_id=inputs.object_id, data_start_at=inputs.data_start_dt, data_end_at=inputs.data_end_dt)
    with closing(open_session(systems.connect_warehouse)) as connection:
        named = [macro.feature_name for macro in inputs.feature_macros]
        multiplied = {"domain"} if settings.domain_enabled else set()
        candidates = check_contract(connection, features=[name for name in named if name not in multiplied])
        totals = read_totals(connection, window=window)
        arrived = read_click_maturity(connection, window=window, now=datetime.now(UTC))
        maturity = {} if arrived is None else arrived.by_day
        segment_log = SegmentLog(connection, window, settings, totals, maturity)
        key = _active_key(inputs.active_run_id, systems)
        plan = plan_segment_cells(
            segment_log, candidates, active_key=key, find_plans=partial(_with_plans, stage=stage, systems=systems)
        )
        extractions: dict[str, Callable[..., int]] = {
            run_files.SEGMENT_CELLS: partial(segment_log.write, features=plan.features, grain=plan.grain)
        }
        own = plan_multiplier_cells(segment_log)
        if settings.domain_enabled:
            extractions[run_files.DOMAIN_CELLS] = partial(
                extract_domain_cells,
                connection,
                window=window,
                price_buckets=own.price_buckets,
                max_cells=own.max_cells,
            )
        if settings.npi_enabled:
            extractions[run_files.NPI_TOTALS] = partial(
                extract_npi_totals, connection, window=window, max_cells=own.max_cells
            )
        attempt = uuid4().hex[:12]
        files = {name: f"cells/{attempt}/{name}" for name in extractions}
        rows = {name: _stage(stage, files[name], extract_to) for name, extract_to in extractions.items()}
        costs = read_session_costs(connection)
    span = [DAY_SPAN] if plan.grain.older_days > 1 else []
    cells = stage.get_frame(files[run_files.SEGMENT_CELLS], columns=["day", "run_id", "bids", "wins", *span])
    earlier_runs, earlier_forecasts = stage_planned_bids(_runs_that_bid(cells), stage=stage, systems=systems)
    days = _daily_counts(cells)
    return StagedLog(
        **totals.model_dump(exclude={"duplicate_bids"}),
        candidate_features=plan.features,
        rows=rows,
        files=files,
        days=days,
        merged_days=count_days(cells) - len(days),
        earlier_runs=earlier_runs,
        earlier_forecasts=earlier_forecasts,
        query_costs=costs,
        click_maturity=maturity,
        coarse=CoarseCells.of(
            plan,
            max_cells=settings.max_cells,
            active_key=key,
            domain_price_buckets=own.price_buckets if settings.domain_enabled else 1,
            cut=own.cut(settings),
        ),
    )


def _daily_counts(cells: pd.DataFrame) -> tuple[DayCount, ...]:
    """Bids and wins of each day with bids, in order; without days that are one with others."""
    if DAY_SPAN in cells:
        cells = cells[cells[DAY_SPAN] == 1]
    days = cells.groupby("day", sort=True)[["bids", "wins"]].sum()
    return tuple(DayCount(bids=int(day.bids), wins=int(day.wins)) for day in rows_of(days))


def _with_plans(
    cells: pd.DataFrame, *, stage: staging.Staging, systems: Systems
) -> tuple[pd.DataFrame, Collection[str]]:
    """Prepared cells with what the earlier runs planned, and the features of these runs."""
    earlier_runs, _ = stage_planned_bids(_runs_that_bid(cells), stage=stage, systems=systems)
    known_by = {feature for features in earlier_runs.values() for feature in features}
    return with_planned_bids(cells, features_by_run=earlier_runs, stage=stage), known_by


def _active_key(active_run_id: str | None, systems: Systems) -> tuple[str, ...]:
    """The features of the active run's key; empty without such a run, or where it noted none."""
    if active_run_id is None:
        return ()
    return tuple(filter(None, (runs.read_run(systems.engine, active_run_id).features_used or "").split(",")))


def _runs_that_bid(cells: pd.DataFrame) -> list[str]:
    """The runs that priced the bids of the latest days, from which the slope is learned."""
    day = pd.to_datetime(cells["day"])
    return list(cells.loc[day > day.max() - pd.Timedelta(days=RANDOMISED_DAYS), "run_id"].dropna().unique())


def _stage(stage: staging.Staging, name: str, extract_to: Callable[..., int]) -> int:
    with TemporaryDirectory(prefix="optimizer-") as folder:
        path = Path(folder) / Path(name).name
        rows = extract_to(path=path)
        stage.put_file(name, path)
    return rows
