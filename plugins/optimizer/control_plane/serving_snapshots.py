"""Which entities' snapshots are behind what is live, and the numbers of those that are written.

A writer takes a number, writes the object, then confirms. Where another writer took a number in between, either of the
two objects may be the one that stayed: the writer that cannot confirm writes again, with a new number. So the last
object that is written is one of what is live, and no lock is held while the object store is waited for.
"""

from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, Engine, RowMapping, insert, select, update

from optimizer.control_plane.engine import reading, transaction
from optimizer.control_plane.serving import ServedEntity, check_served, read_entities, read_entity
from optimizer.control_plane.tables import deployments, entities, serving_snapshots
from optimizer.errors import UnknownEntity


@dataclass(frozen=True, slots=True)
class PlannedSnapshot:
    """A snapshot to write: its number, and what it says.

    content_hash: of all that it is made from; two alike say the same.
    """

    entity_id: int
    sequence: int
    is_active: bool
    s3_base_path: str
    served: ServedEntity
    content_hash: str


@dataclass(frozen=True, slots=True)
class WrittenSnapshot:
    """The last number that was taken for an entity's snapshot, and whether that snapshot is known to be written."""

    sequence: int
    is_confirmed: bool


def list_behind(engine: Engine) -> list[str]:
    """Return the codes of the entities, sorted, whose snapshot is missing, not confirmed, or not what is live.

    The number of statements does not depend on how many entities there are.

    An entity without deployments keeps the snapshot that it has, as the bidder keeps what it serves; an inactive one
    gets a last snapshot that stops the bidding.
    """
    live = select(deployments.c.entity_id).where(deployments.c.is_active.is_(True)).distinct()
    with reading(engine) as connection:
        written = {row["entity_id"]: row for row in connection.execute(select(serving_snapshots)).mappings()}
        ids = sorted({*written, *connection.scalars(live)})
        rows = _select(connection, ids)
        served = read_entities(connection, rows)
    return sorted(
        row["entity_code"]
        for row, one in zip(rows, served, strict=True)
        if _is_behind(row, one, written.get(row["entity_id"]))
    )


def list_late(engine: Engine) -> list[str]:
    """Return those of `list_behind` that a snapshot was taken a number for, sorted by code."""
    numbered = select(entities.c.entity_code).join(serving_snapshots)
    with reading(engine) as connection:
        return sorted(set(connection.scalars(numbered)) & set(list_behind(engine)))


def list_written(engine: Engine) -> dict[str, int]:
    """Return {entity_code: the last number that was taken for its snapshot}; entities without one are left out."""
    numbers = select(entities.c.entity_code, serving_snapshots.c.sequence).join_from(serving_snapshots, entities)
    with reading(engine) as connection:
        return {row.entity_code: row.sequence for row in connection.execute(numbers)}


def plan_snapshot(engine: Engine, entity_code: str, *, again: bool = False, after: int = 0) -> PlannedSnapshot | None:
    """Take a number for a snapshot of what is live and return what to write, or None where nothing is to be written.

    Args:
        again: write one even where the last one says the same.
        after: the number is larger than this one.

    Raises:
        UnknownEntity: there is no such entity.
        DeploymentError: what is live cannot be served; the snapshot stays as it is.
        UnavailableError: the database is silent.
    """
    with transaction(engine) as connection:
        wanted = select(*_COLUMNS).where(entities.c.entity_code == entity_code).with_for_update()
        row = connection.execute(wanted).mappings().one_or_none()
        if row is None:
            raise UnknownEntity(f"entity {entity_code!r} is not in opt_entities; correct the entity's code")
        is_this = serving_snapshots.c.entity_id == row["entity_id"]
        last = connection.execute(select(serving_snapshots).where(is_this)).mappings().one_or_none()
        served = read_entity(connection, row)
        if not (again or _needs_writing(row, served, last)) or not _has_content(row, served, last):
            return None
        if _is_active(row):
            check_served(served)
        sequence = 1 + max(after, 0 if last is None else last["sequence"])
        if last is None:
            connection.execute(insert(serving_snapshots).values(entity_id=row["entity_id"], sequence=sequence))
        else:
            connection.execute(update(serving_snapshots).where(is_this).values(sequence=sequence, content_hash=None))
        return PlannedSnapshot(
            row["entity_id"], sequence, _is_active(row), row["s3_base_path"], served, _hash(row, served)
        )


def confirm_snapshot(engine: Engine, planned: PlannedSnapshot, *, now: datetime) -> bool:
    """Note that the snapshot is written; return False where another number was taken since, so that it may be lost."""
    table = serving_snapshots
    is_last = (table.c.entity_id == planned.entity_id, table.c.sequence == planned.sequence)
    values = {"content_hash": planned.content_hash, "written_at": now}
    with transaction(engine) as connection:
        return connection.execute(update(table).where(*is_last).values(**values)).rowcount > 0


def read_written(engine: Engine, entity_code: str) -> WrittenSnapshot | None:
    """Return what is known of the entity's snapshot, or None where none was ever written."""
    joined = select(serving_snapshots).join(entities, entities.c.entity_id == serving_snapshots.c.entity_id)
    with reading(engine) as connection:
        row = connection.execute(joined.where(entities.c.entity_code == entity_code)).mappings().one_or_none()
    return None if row is None else WrittenSnapshot(row["sequence"], row["content_hash"] is not None)


_COLUMNS = tuple(entities.c[name] for name in ("entity_id", "opt_id", "entity_code", "s3_base_path", "status"))


def _select(connection: Connection, ids: list[int]) -> list[RowMapping]:
    return list(connection.execute(select(*_COLUMNS).where(entities.c.entity_id.in_(ids))).mappings())


def _is_behind(row: RowMapping, served: ServedEntity, last: RowMapping | None) -> bool:
    return _has_content(row, served, last) and _needs_writing(row, served, last)


def _needs_writing(row: RowMapping, served: ServedEntity, last: RowMapping | None) -> bool:
    return last is None or last["content_hash"] != _hash(row, served)


def _has_content(row: RowMapping, served: ServedEntity, last: RowMapping | None) -> bool:
    return bool(served.runs) if _is_active(row) else last is not None


def _is_active(row: RowMapping) -> bool:
    return bool(row["status"] == "A")


def _hash(row: RowMapping, served: ServedEntity) -> str:
    content: Any = (row["s3_base_path"], served.model_dump_json() if _is_active(row) else "inactive")
    return sha256(repr(content).encode()).hexdigest()
