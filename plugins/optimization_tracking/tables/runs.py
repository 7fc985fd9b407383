"""Runs: written, read one by one, deleted. `run_lists` reads many."""

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.errors import CheckViolation
from psycopg.types.json import Jsonb
from pydantic.alias_generators import to_camel
from pydantic_core import to_json

from optimization_tracking.database import Connection, Database, Row, fetch_one
from optimization_tracking.idempotency import MAX_TRIES, used_otherwise
from optimization_tracking.models.runs import TRANSITIONS, CreateRun, Run, UpdateRun
from optimization_tracking.models.values import MAX_JSON_BYTES, check_json
from optimization_tracking.problem_details import Refusal, invalid, not_found, unavailable
from optimization_tracking.queries import render_query

JSON_COLUMNS = ("config", "metadata", "best_program", "final_program", "evaluation_results")
MAX_RUN_BYTES = 2 * MAX_JSON_BYTES
"""Of a run's JSON and texts together: it comes in one answer."""


def as_json(value: Any) -> Jsonb | None:
    """Return a value as Postgres takes it for a JSONB column; None is NULL."""
    return None if value is None else Jsonb(value, dumps=to_json)


@dataclass(frozen=True, slots=True)
class Origin:
    """The Idempotency-Key that makes a run, and the digest of the request that it came with."""

    key: str
    request_sha256: bytes


async def create(
    database: Database, run: CreateRun, *, project_id: str, actor: str, origin: Origin | None = None
) -> tuple[Run, bool]:
    """Return the run, and whether it is new: a run of the same origin, however old, is returned as it stands.

    Raises:
        Refusal: 422 where its JSON together is too long, or the key made a run of another request; 503 while that run
            is being deleted.
    """
    columns = {name: getattr(run, name) for name in type(run).model_fields} | {"project_id": project_id}
    if origin is not None:
        columns |= {"creation_key": origin.key, "creation_sha256": rf"\x{origin.request_sha256.hex()}"}
    values = {"actor": actor, "run": to_json(columns).decode(), "max_bytes": MAX_RUN_BYTES}
    for _ in range(MAX_TRIES):
        row = await _insert(database, values, project_id=project_id, fields=run.model_fields_set)
        if row is not None:
            return Run.model_validate(row), True
        async with database.transaction([project_id]) as connection:
            row = await fetch_one(connection, render_query("read_created_run"), columns)
        if row is None:  # deleted since by another transaction
            continue
        if origin is not None and bytes(row["creation_sha256"]) != origin.request_sha256:
            raise used_otherwise()
        return Run.model_validate(row), False
    raise unavailable("the run that the Idempotency-Key made is being deleted; try again")


async def read(connection: Connection, run_id: UUID) -> Run:
    """Return a run.

    Raises:
        Refusal: 404 where the caller sees none of that id.
    """
    row = await fetch_one(connection, render_query("read_run"), {"run_id": run_id})
    if row is None:
        raise not_found("run")
    return Run.model_validate(row)


async def exists(connection: Connection, run_id: UUID) -> bool:
    """Return whether the caller sees a run of that id."""
    return await fetch_one(connection, render_query("run_project"), {"run_id": run_id}) is not None


async def read_project(connection: Connection, run_id: UUID) -> str:
    """Return the project of a run; 404 as `read`."""
    row = await fetch_one(connection, render_query("run_project"), {"run_id": run_id})
    if row is None:
        raise not_found("run")
    return str(row["project_id"])


async def update(
    connection: Connection, run_id: UUID, change: UpdateRun, *, seen: Sequence[datetime] | None = None
) -> Run:
    """Return the run as it stands after the change.

    Args:
        seen: the run changes only if its updated_at is one of these.

    Raises:
        Refusal: 404 as `read`; 409 where its status cannot become the new one, or it must have no owner and has one;
            412 where `seen` has no such time; 422 where the merged metadata, or the run's JSON together, are too long.
    """
    changed = change.model_fields_set
    asked = set(changed) | ({"seen"} if seen is not None else set())
    if "status" in changed:
        asked |= {"begins"} if change.status == "running" else set()
        asked |= {"ends"} if not TRANSITIONS[change.status] else set()
    if not change.if_unowned:
        asked.discard("if_unowned")
    values = _columns(change, changed) | {"run_id": run_id, "from_statuses": _may_become(change), "seen": seen}
    row = await fetch_one(connection, render_query("update_run", asked=frozenset(asked)), values)
    if row is None:
        raise await _why_unchanged(connection, run_id, change, seen=seen)
    _check_size(row, changed)
    run = Run.model_validate(row)
    if "metadata" in changed:
        _check_metadata(run.metadata)
    return run


async def delete(connection: Connection, run_id: UUID, *, seen: Sequence[datetime] | None = None) -> None:
    """Delete a run with its iterations and samples: `removing` removes the rows later; `seen`, 404, 412 as `update`."""
    query = render_query("delete_run", asked=frozenset({"seen"} if seen is not None else ()))
    if await fetch_one(connection, query, {"run_id": run_id, "seen": seen}) is None:
        await read(connection, run_id)
        raise _stale()


async def _insert(database: Database, values: dict[str, Any], *, project_id: str, fields: Set[str]) -> Row | None:
    try:
        async with database.connection((project_id,)) as connection:
            return await fetch_one(connection, render_query("insert_run"), values)
    except CheckViolation as error:
        if error.diag.constraint_name == "optimization_runs_bytes":
            raise _too_long(fields) from None
        raise


def _columns(given: UpdateRun, names: Iterable[str]) -> dict[str, Any]:
    values = {name: getattr(given, name) for name in names}
    return values | {name: as_json(values[name]) for name in JSON_COLUMNS if name in values}


def _may_become(change: UpdateRun) -> list[str]:
    if "status" not in change.model_fields_set:
        return list(TRANSITIONS)
    return [old for old, later in TRANSITIONS.items() if change.status in (old, *later)]


def _check_metadata(metadata: dict[str, Any]) -> None:
    """Each change is within the bounds; what many of them add up to has to be, too."""
    try:
        check_json(metadata)
    except ValueError as error:
        raise invalid("metadata", f"together with what is there, {error}") from None
    if len(to_json(metadata)) > MAX_JSON_BYTES:
        raise invalid("metadata", f"together with what is there, is longer than {MAX_JSON_BYTES:,} bytes")


def _check_size(row: Row, fields: Set[str]) -> None:
    """Refuse JSON with which the run becomes longer than an answer may be; an end or a score is never refused."""
    if row["bytes"] > MAX_RUN_BYTES and not fields.isdisjoint(JSON_COLUMNS):
        raise _too_long(fields)


def _too_long(fields: Set[str]) -> Refusal:
    changed = next(name for name in JSON_COLUMNS if name in fields)
    return invalid(to_camel(changed), f"with it, the run's JSON is longer than {MAX_RUN_BYTES:,} bytes")


def _stale() -> Refusal:
    return Refusal(412, "the run has changed since the version that If-Match names; read it again")


async def _why_unchanged(
    connection: Connection, run_id: UUID, change: UpdateRun, *, seen: Sequence[datetime] | None
) -> Refusal:
    run = await read(connection, run_id)
    if seen is not None and run.updated_at not in seen:
        return _stale()
    if change.if_unowned and change.status in (run.status, *TRANSITIONS[run.status]):
        return Refusal(409, "a process holds the run and works on it", errors=[("ifUnowned", "the run has an owner")])
    allowed = ", ".join(TRANSITIONS[run.status]) or "nothing else, it has ended"
    reason = f"the run is {run.status} and cannot become {change.status}; it may become {allowed}"
    return Refusal(409, reason, errors=[("status", reason)])
