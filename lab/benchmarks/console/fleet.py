"""A control plane with a fleet in it: ten clients are written row by row, and the database copies them."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

from sqlalchemy import (
    JSON,
    Column,
    Connection,
    Engine,
    ScalarSelect,
    String,
    Table,
    Text,
    func,
    insert,
    select,
    true,
    type_coerce,
    update,
)
from sqlalchemy.sql import ColumnElement

from lab.benchmarks.console.models import STATES, Model, Row
from lab.stack.catalogue import ensure_entity
from optimizer.control_plane import tables
from optimizer.control_plane.engine import reading, transaction
from optimizer.control_plane.entities import read_definitions

ROWS_A_STATEMENT = 2_000
FIRST_OBJECT_ID = 100_000
BUCKET = "fleet"


@dataclass(frozen=True, slots=True)
class Fleet:
    """How many clients there are, runs of each, and days of figures, until the morning `now`."""

    entities: int
    runs: int
    days: int
    now: datetime

    def codes(self) -> list[str]:
        """Return the clients' codes, which sort as they are numbered."""
        return [f"client_{number:04}" for number in range(self.entities)]

    @property
    def example(self) -> str:
        """The client whose own pages are asked for: one that is on target."""
        return self.codes()[self.entities // 2 // len(STATES) * len(STATES)]


def fill(engine: Engine, fleet: Fleet) -> None:
    """Write the fleet into a migrated control plane: client n is in the state STATES[n % 10]."""
    fill_entities(engine, fleet)
    filled = []
    for model in _models(engine, fleet):
        for table, rows in model.rows():
            _insert(engine, table, rows)
            filled.append(table)
    for table in dict.fromkeys(filled):
        with transaction(engine) as connection:
            _copy(connection, table)
    with transaction(engine) as connection:
        first_run = tables.entities.c.entity_code + f"_{0:05}"
        connection.execute(update(tables.entities).values(control_run_id=first_run, active_run_id=_live_run()))


def fill_entities(engine: Engine, fleet: Fleet) -> None:
    """Write the clients alone, into a migrated control plane."""
    _insert(engine, tables.entities, _entities(engine, fleet))


def _insert(engine: Engine, table: Table, rows: Iterator[Row]) -> None:
    while some := list(islice(rows, ROWS_A_STATEMENT)):
        with transaction(engine) as connection:
            connection.execute(insert(table), some)


def _entities(engine: Engine, fleet: Fleet) -> Iterator[Row]:
    """The clients but the first, which the catalogue has."""
    first, *others = fleet.codes()
    ensure_entity(engine, first, object_id=FIRST_OBJECT_ID)
    with reading(engine) as connection:
        like = connection.execute(select(tables.entities)).mappings().one()
    for number, code in enumerate(others, start=1):
        own = {"entity_code": code, "entity_name": code, "object_id": FIRST_OBJECT_ID + number}
        own["s3_base_path"] = f"s3://{BUCKET}/{code}/"
        yield {name: value for name, value in like.items() if name != "entity_id"} | own


def _models(engine: Engine, fleet: Fleet) -> Iterator[Model]:
    for one in read_definitions(engine)[0][: len(STATES)]:
        config = one.merged_config()
        yield Model(
            entity_id=one.entity.entity_id,
            code=one.entity.entity_code,
            state=STATES[one.entity.object_id - FIRST_OBJECT_ID],
            version_id=one.entity.current_version_id,
            snapshot={**config.by_section(), "sources": dict(config.sources)},
            runs=fleet.runs,
            days=fleet.days,
            now=fleet.now,
        )


def _live_run() -> ScalarSelect[str]:
    live, own = tables.deployments, tables.entities
    of_entity = (live.c.entity_id == own.c.entity_id, live.c.is_active == true(), live.c.source == "scheduled")
    return select(live.c.run_id).where(*of_entity).correlate(own).scalar_subquery()


def _copy(connection: Connection, table: Table) -> None:
    """Give each other client the rows of the model that it is like, with its own code wherever theirs stands."""
    model, own = tables.entities.alias("model"), tables.entities.alias("own")
    is_like = (own.c.object_id - FIRST_OBJECT_ID) % len(STATES) == model.c.object_id - FIRST_OBJECT_ID

    def value_of(column: Column[Any]) -> ColumnElement[Any]:
        if column.name == "entity_id":
            return own.c.entity_id
        if isinstance(column.type, String | JSON):
            return func.replace(type_coerce(column, Text), model.c.entity_code, own.c.entity_code)
        return column

    columns = [one for one in table.c if one.computed is None and one is not table.autoincrement_column]
    copied = (
        select(*map(value_of, columns))
        .join(model, model.c.entity_id == table.c.entity_id)
        .join(own, is_like & (own.c.entity_id != model.c.entity_id))
    )
    connection.execute(insert(table).from_select([one.name for one in columns], copied))
