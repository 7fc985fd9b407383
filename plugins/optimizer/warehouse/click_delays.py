"""How long after its view a click came, and how old the views were when the log ended."""

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pandas as pd

from optimizer.core.landscape.click_delay import LONGEST_HOURS, ClickMaturity, learn_click_maturity
from optimizer.warehouse.contract import render_for
from optimizer.warehouse.extraction import Window, Windows
from optimizer.warehouse.failures import warehouse_errors
from optimizer.warehouse.queries import warehouse_time

COLUMNS = ("day", "age_hours", "delay_hours", "views")

DELAY_DAYS = 14
"""How late clicks come is learned from the bids of this many latest days."""


def read_click_maturity(connection: Any, *, window: Window, now: datetime) -> ClickMaturity | None:
    """Return which share of the clicks of the window's last DELAY_DAYS has arrived; None with too few clicks.

    Args:
        now: UTC; events dated after it have a wrong date and do not count as the end of the log.

    Raises:
        WarehouseError: the warehouse breaks its contract.
        UnavailableError: it does not answer.
    """
    start = max(window.data_start_at, window.data_end_at - timedelta(days=DELAY_DAYS))
    return learn_click_maturity(read_click_delays(connection, window=replace(window, data_start_at=start), now=now))


def read_click_delays(connection: Any, *, window: Window, now: datetime) -> pd.DataFrame:
    """Return the counts with COLUMNS, one row a day (datetime.date), age and delay; delay_hours is NaN without a click.

    Raises:
        WarehouseError: the warehouse breaks its contract.
        UnavailableError: it does not answer.
    """
    return _read_many_delays(connection, windows=window.alone(), now=now)[window.object_id]


def read_many_click_maturities(
    connection: Any, *, object_ids: Collection[int], end_at: datetime, now: datetime
) -> dict[int, ClickMaturity | None]:
    """Return {object_id: what `read_click_maturity` returns for the DELAY_DAYS before `end_at`} by one query."""
    windows = Windows(dict.fromkeys(object_ids, end_at - timedelta(days=DELAY_DAYS)), end_at)
    delays = _read_many_delays(connection, windows=windows, now=now)
    return {object_id: learn_click_maturity(counts) for object_id, counts in delays.items()}


def _read_many_delays(connection: Any, *, windows: Windows, now: datetime) -> dict[int, pd.DataFrame]:
    query = render_for(connection, "click_delays", starts=windows.own_starts())
    with warehouse_errors("reading the delays of clicks"), connection.cursor() as cursor:
        binds = {**windows.binds(), "now_dt": warehouse_time(now), "longest_hours": LONGEST_HOURS}
        rows = cursor.execute(query, binds).fetchall()
        names = [column.name.lower() for column in cursor.description]
    table = pd.DataFrame([tuple(row) for row in rows], columns=names).astype(dict.fromkeys(COLUMNS[1:], float))
    return {
        object_id: table.loc[table["object_id"] == object_id, list(COLUMNS)].reset_index(drop=True)
        for object_id in windows.starts
    }
