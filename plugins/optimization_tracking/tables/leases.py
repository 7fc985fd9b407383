"""Leases: which processes work on a run."""

from uuid import UUID

from optimization_tracking.database import Connection, fetch_one
from optimization_tracking.models.answers import Pagination
from optimization_tracking.models.queries import ShortRowsPage
from optimization_tracking.models.runs import Lease, ReleasedLease
from optimization_tracking.problem_details import not_found
from optimization_tracking.queries import render_query
from optimization_tracking.tables.pages import list_short_rows


async def hold(connection: Connection, run_id: UUID, owner: str, *, seconds: int) -> Lease:
    """Return the owner's lease of a run, which lasts that long from now on.

    Raises:
        Refusal: 404 where the caller sees no such run.
    """
    values = {"run_id": run_id, "owner": owner, "seconds": seconds}
    row = await fetch_one(connection, render_query("hold_lease"), values)
    if row is None:
        raise not_found("run")
    return Lease.model_validate(row)


async def release(connection: Connection, run_id: UUID, owner: str) -> ReleasedLease:
    """Return the lease that is no more, also where it was none.

    Raises:
        Refusal: 404 where the caller sees no such run.
    """
    await fetch_one(connection, render_query("release_lease"), {"run_id": run_id, "owner": owner})
    if await fetch_one(connection, render_query("run_status"), {"run_id": run_id}) is None:
        raise not_found("run")
    return ReleasedLease(run_id=run_id, owner=owner)


async def list_held(connection: Connection, run_id: UUID, page: ShortRowsPage) -> tuple[list[Lease], Pagination]:
    """Return a page of the leases of a run that last, by their owner; 404 as `hold`."""
    rows, pagination = await list_short_rows(connection, "list_leases", page, key="owner", values={"run_id": run_id})
    if not rows and await fetch_one(connection, render_query("run_status"), {"run_id": run_id}) is None:
        raise not_found("run")
    return [Lease.model_validate(row) for row in rows], pagination


async def count_held(connection: Connection, run_id: UUID) -> int:
    """Return how many leases of a run last."""
    row = await fetch_one(connection, render_query("count_leases"), {"run_id": run_id})
    return row["held"] if row else 0
