"""How long after its view a click came, and how old the views were when the log ended."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pandas as pd

from optimizer.core.landscape.click_delay import LONGEST_HOURS, ClickMaturity, learn_click_maturity
from optimizer.warehouse.contract import render_for
from optimizer.warehouse.extraction import Window
from optimizer.warehouse.failures import warehouse_errors

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
    with warehouse_errors("reading the delays of clicks"), connection.cursor() as cursor:
        read_at = now.replace(tzinfo=None).isoformat(sep=" ")
        binds = {**window.binds(), "now_dt": read_at, "longest_hours": LONGEST_HOURS}
        rows = cursor.execute(render_for(connection, "click_delays"), binds).fetchall()
        names = [column.name.lower() for column in cursor.description]
    table = pd.DataFrame([tuple(row) for row in rows], columns=names)[list(COLUMNS)]
    return table.astype(dict.fromkeys(COLUMNS[1:], float))
