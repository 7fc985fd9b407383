"""Leases: which processes work on a run."""

from uuid import UUID

from optimization_tracking.database import Connection, fetch_all, fetch_one
from optimization_tracking.models.runs import Lease, ReleasedLease
from optimization_tracking.problem_details import not_found
from optimization_tracking.queries import render_query


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


async def list_held(connection: Connection, run_id: UUID) -> list[Lease]:
    """Return the leases of a run that last; 404 as `hold`."""
    rows = await fetch_all(connection, render_query("list_leases"), {"run_id": run_id})
    if not rows and await fetch_one(connection, render_query("run_status"), {"run_id": run_id}) is None:
        raise not_found("run")
    return [Lease.model_validate(row) for row in rows]
