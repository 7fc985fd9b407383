"""What a session's statements scanned and cost, from the warehouse's own history."""

import logging
from typing import Any

from optimizer.core.records.window_totals import QueryCosts
from optimizer.errors import UnavailableError, WarehouseError
from optimizer.warehouse.failures import warehouse_errors
from optimizer.warehouse.queries import render_query

log = logging.getLogger(__name__)


def read_session_costs(connection: Any) -> QueryCosts | None:
    """Return what the session's statements have scanned and cost so far.

    None if the warehouse keeps no such history, the role may not read it, or the warehouse does not answer.
    The log says so; a run never fails for it.
    """
    try:
        with warehouse_errors("reading what the session's statements cost"), connection.cursor() as cursor:
            row = cursor.execute(render_query("session_costs")).fetchone()
    except (WarehouseError, UnavailableError) as error:
        log.info("what the statements scanned and cost is not known: %s", error)
        return None
    if row is None or not row[0]:
        log.info("what the statements scanned and cost is not known: the warehouse's history of this session is empty")
        return None
    statements, bytes_scanned, execution_s, credits_used = (float(value or 0) for value in row)
    return QueryCosts(
        statements=int(statements),
        bytes_scanned=int(bytes_scanned),
        execution_s=execution_s,
        cloud_services_credits=credits_used,
    )
