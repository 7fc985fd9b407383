"""What runs are compared by, read at once for hundreds of them."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from optimization_tracking.database import Connection, fetch_all
from optimization_tracking.differences import compare_objects
from optimization_tracking.models.comparing import MAX_COMPARED, ComparisonRun, DifferingKey, RunDifferences
from optimization_tracking.models.queries import RunConditions
from optimization_tracking.problem_details import not_found
from optimization_tracking.queries import render_query
from optimization_tracking.tables.pages import MAX_ANSWER_BYTES
from optimization_tracking.tables.run_lists import conditions_of

MAX_CONFIG_BYTES = 20_000
"""Of JSON; a longer config is not compared."""


class ComparedRow(ComparisonRun):
    """A run with what it is compared by. `config` is None where it is too long to be compared."""

    config: dict[str, Any] | None


def compare(found: Sequence[ComparedRow]) -> RunDifferences:
    """Return the runs, and the keys of their configs that differ, as many as fit into an answer."""
    compared = compare_objects([run.config or {} for run in found])
    runs = [ComparisonRun.model_validate(run.model_dump(by_alias=False)) for run in found]
    left_bytes = MAX_ANSWER_BYTES - sum(len(run.model_dump_json()) for run in runs)
    differing = [key for key in compared.keys if key.differs]
    listed = []
    for key in differing:
        one = DifferingKey(key=key.key, values=list(key.values), is_set=list(key.is_set))
        left_bytes -= len(one.model_dump_json().encode())
        if left_bytes < 0:
            break
        listed.append(one)
    return RunDifferences(
        runs=runs,
        differing=listed,
        same=len(compared.keys) - len(differing),
        left_out=compared.left_out + len(differing) - len(listed),
        unread=sum(run.config is None for run in found),
    )


async def read_compared(connection: Connection, run_ids: Sequence[UUID]) -> list[ComparedRow]:
    """Return runs in the order of their ids.

    Raises:
        Refusal: 404 where the caller does not see all of them.
    """
    values = {"ids": list(run_ids), "row_limit": len(run_ids), "max_config_bytes": MAX_CONFIG_BYTES}
    rows = await fetch_all(connection, render_query("compare_runs", whole="ids"), values)
    found = {row["id"]: ComparedRow.model_validate(row) for row in rows}
    if len(found) < len(run_ids):
        raise not_found("run")
    return [found[run_id] for run_id in run_ids]


async def list_compared(connection: Connection, filters: RunConditions, *, project_id: str) -> list[ComparedRow]:
    """Return the newest MAX_COMPARED runs that match."""
    asked, values = await conditions_of(connection, filters, project_id=project_id)
    query = render_query("compare_runs", asked=frozenset(asked), whole="conditions")
    limits = {"row_limit": MAX_COMPARED, "max_config_bytes": MAX_CONFIG_BYTES}
    return [ComparedRow.model_validate(row) for row in await fetch_all(connection, query, values | limits)]
