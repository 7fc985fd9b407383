"""What the monitor measured: daily figures, verdicts and savings, each replaced as a whole by the next measurement."""

from collections.abc import Collection, Iterable
from datetime import date, datetime

from sqlalchemy import Connection, Engine, Table, delete, insert, select

from optimizer.control_plane.engine import reading, transaction
from optimizer.control_plane.live_rows import LiveDay, LiveSavings, LiveVerdict
from optimizer.control_plane.records import AnyRecord, read_rows
from optimizer.control_plane.tables import entities, live_daily, live_savings, live_verdicts


def replace_days(engine: Engine, entity_id: int, days: Collection[LiveDay], *, now: datetime) -> None:
    """Write the days' figures in place of what was written of the same days and runs."""
    with transaction(engine) as connection:
        _lock(connection, entity_id)
        for run_id in {day.run_id for day in days}:
            own = [day.day for day in days if day.run_id == run_id]
            of_run = (live_daily.c.entity_id == entity_id, live_daily.c.run_id == run_id, live_daily.c.day.in_(own))
            connection.execute(delete(live_daily).where(*of_run))
        _insert(connection, live_daily, days, entity_id=entity_id, measured_at=now)


def replace_verdicts(
    engine: Engine, entity_id: int, verdicts: Collection[LiveVerdict], *, measured_on: date, now: datetime
) -> None:
    """Write the morning's verdicts in place of those that it has already."""
    with transaction(engine) as connection:
        _lock(connection, entity_id)
        of_morning = (live_verdicts.c.entity_id == entity_id, live_verdicts.c.measured_on == measured_on)
        connection.execute(delete(live_verdicts).where(*of_morning))
        _insert(connection, live_verdicts, verdicts, entity_id=entity_id, measured_on=measured_on, measured_at=now)


def replace_savings(engine: Engine, entity_id: int, savings: Collection[LiveSavings], *, now: datetime) -> None:
    """Write the entity's savings in place of those that it has."""
    with transaction(engine) as connection:
        _lock(connection, entity_id)
        connection.execute(delete(live_savings).where(live_savings.c.entity_id == entity_id))
        _insert(connection, live_savings, savings, entity_id=entity_id, measured_at=now)


def read_days(engine: Engine, entity_code: str, *, since: date | None = None) -> list[LiveDay]:
    """Return the entity's daily figures, in the order of days and runs."""
    wanted = [] if since is None else [live_daily.c.day >= since]
    return _read(engine, live_daily, LiveDay, entity_code, wanted, order=(live_daily.c.day, live_daily.c.run_id))


def read_verdicts(engine: Engine, entity_code: str) -> list[LiveVerdict]:
    """Return the verdicts of the entity's latest measurement."""
    of_entity = select(entities.c.entity_id).where(entities.c.entity_code == entity_code).scalar_subquery()
    newest = (
        select(live_verdicts.c.measured_on)
        .where(live_verdicts.c.entity_id == of_entity)
        .order_by(live_verdicts.c.measured_on.desc())
        .limit(1)
        .scalar_subquery()
    )
    return _read(
        engine,
        live_verdicts,
        LiveVerdict,
        entity_code,
        [live_verdicts.c.measured_on == newest],
        order=(live_verdicts.c.id,),
    )


def read_savings(engine: Engine, entity_code: str) -> list[LiveSavings]:
    """Return what the entity saved against its control: yesterday, this month, since the start."""
    return _read(engine, live_savings, LiveSavings, entity_code, [], order=(live_savings.c.last_day, live_savings.c.id))


def _lock(connection: Connection, entity_id: int) -> None:
    """Let one measurement of the entity write at a time."""
    connection.execute(select(entities.c.entity_id).where(entities.c.entity_id == entity_id).with_for_update())


def _insert(connection: Connection, table: Table, rows: Iterable[AnyRecord], **shared: object) -> None:
    values = [{**row.model_dump(), **shared} for row in rows]
    if values:
        connection.execute(insert(table), values)


def _read(
    engine: Engine,
    table: Table,
    model: type[AnyRecord],
    entity_code: str,
    wanted: Iterable[object],
    *,
    order: Iterable[object],
) -> list[AnyRecord]:
    joined = select(table).join(entities, entities.c.entity_id == table.c.entity_id)
    statement = joined.where(entities.c.entity_code == entity_code, *wanted).order_by(*order)  # type: ignore[arg-type]
    with reading(engine) as connection:
        return read_rows(model, connection.execute(statement).mappings())
