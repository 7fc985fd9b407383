"""extract: the window's totals and cells, from the warehouse to the run's staging prefix."""

from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

import pandas as pd

from optimizer.core.frames import rows_of
from optimizer.core.landscape.slope import RANDOMISED_DAYS
from optimizer.core.records import run_files
from optimizer.core.records.config_snapshot import ConfigSnapshot
from optimizer.core.records.window_totals import DayCount, StagedLog
from optimizer.runs import artifacts, staging
from optimizer.runs.handle import RunHandle, read_snapshot
from optimizer.runs.planned_bids import stage_planned_bids
from optimizer.runs.systems import Systems
from optimizer.warehouse.click_delays import read_click_maturity
from optimizer.warehouse.contract import check_contract
from optimizer.warehouse.extraction import (
    Window,
    extract_domain_cells,
    extract_npi_totals,
    extract_segment_cells,
    read_totals,
)
from optimizer.warehouse.session import open_session
from optimizer.warehouse.session_costs import read_session_costs


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
    log = artifacts.TOTALS.read(stage)
    return {"usable_bids": log.usable_bids, "rows": log.rows}


def _read_log(snapshot: ConfigSnapshot, systems: Systems, stage: staging.Staging) -> StagedLog:
    """The totals of the window, with the names of the staged cells; every try has file names of its own."""
    settings, inputs = snapshot.settings, snapshot.inputs
    window = Window(object_id=inputs.object_id, data_start_at=inputs.data_start_dt, data_end_at=inputs.data_end_dt)
    with closing(open_session(systems.connect_warehouse)) as connection:
        named = [macro.feature_name for macro in inputs.feature_macros]
        multiplied = {"domain"} if settings.domain_enabled else set()
        features = check_contract(connection, features=[name for name in named if name not in multiplied])
        totals = read_totals(connection, window=window)
        maturity = read_click_maturity(connection, window=window, now=datetime.now(UTC))
        is_second_price = settings.auction_type == "second_price"
        extractions: dict[str, Callable[..., int]] = {
            run_files.SEGMENT_CELLS: partial(
                extract_segment_cells,
                features=features,
                is_second_price=is_second_price,
                block_hours=totals.block_hours,
            )
        }
        if settings.domain_enabled:
            extractions[run_files.DOMAIN_CELLS] = extract_domain_cells
        if settings.npi_enabled:
            extractions[run_files.NPI_TOTALS] = extract_npi_totals
        attempt = uuid4().hex[:12]
        files = {name: f"cells/{attempt}/{name}" for name in extractions}
        rows = {
            name: _stage(stage, files[name], partial(extract_to, connection, window=window))
            for name, extract_to in extractions.items()
        }
        costs = read_session_costs(connection)
    cells = stage.get_frame(files[run_files.SEGMENT_CELLS], columns=["day", "run_id", "bids", "wins"])
    earlier_runs, earlier_forecasts = stage_planned_bids(_runs_that_bid(cells), stage=stage, systems=systems)
    return StagedLog(
        **totals.model_dump(exclude={"duplicate_bids"}),
        candidate_features=tuple(features),
        rows=rows,
        files=files,
        days=_daily_counts(cells),
        earlier_runs=earlier_runs,
        earlier_forecasts=earlier_forecasts,
        click_maturity={} if maturity is None else maturity.by_day,
        query_costs=costs,
    )


def _daily_counts(cells: pd.DataFrame) -> tuple[DayCount, ...]:
    """Bids and wins of each day with bids, in order."""
    days = cells.groupby("day", sort=True)[["bids", "wins"]].sum()
    return tuple(DayCount(bids=int(day.bids), wins=int(day.wins)) for day in rows_of(days))


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
