"""The state of all entities, in a fixed number of statements: newest runs, what is live, and what was measured."""

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Select, Table, select, true, union

from optimizer.control_plane.control_choices import is_none_chosen
from optimizer.control_plane.engine import reading
from optimizer.control_plane.newest import latest_measurement, newest_good_id, newest_id
from optimizer.control_plane.records import (
    Alert,
    AnyRecord,
    Canary,
    Deployment,
    EndedRunRow,
    Measure,
    Record,
)
from optimizer.control_plane.tables import (
    alerts,
    canaries,
    deployments,
    entities,
    live_savings,
    live_verdicts,
    runs,
)


class VerdictRow(Record):
    """One figure's verdict of the latest measurement; the columns are those of `LiveVerdict`."""

    run_id: str | None
    compared_with: str
    figure: str
    verdict: str
    reason: str | None
    first_day: date | None
    live: Measure


class SavingRow(Record):
    """What was saved against the control in a period, currency units."""

    period: str
    saved: Measure


@dataclass(frozen=True, slots=True)
class EntityState:
    """An entity as the control plane knows it now.

    is_control_declined: a user chose that it has no control.
    newest: the newest run that completed or failed, without dry runs and controls.
    good: the newest completed run whose validation passed.
    active: its live runs, the largest share first.
    verdicts: of the latest measurement.
    """

    entity_id: int
    entity_code: str
    control_run_id: str | None
    is_control_declined: bool
    newest: EndedRunRow | None
    good: EndedRunRow | None
    active: tuple[Deployment, ...]
    verdicts: tuple[VerdictRow, ...]
    savings: tuple[SavingRow, ...]
    alerts: tuple[Alert, ...]
    canary: Canary | None


def read_entity_states(engine: Engine, entity_codes: Collection[str] | None = None) -> list[EntityState]:
    """Return the states of the active entities, or of these entities whatever their status, by entity_code."""
    own = [entities.c[name] for name in ("entity_id", "entity_code", "control_run_id")]
    is_declined = is_none_chosen().label("is_control_declined")
    is_wanted = entities.c.status == "A" if entity_codes is None else entities.c.entity_code.in_(list(entity_codes))
    with reading(engine) as connection:
        found = connection.execute(select(*own, is_declined).where(is_wanted).order_by(entities.c.entity_code)).all()

        def read(model: type[AnyRecord], table: Table, *wanted: ColumnElement[bool]) -> dict[int, list[AnyRecord]]:
            return _by_entity(connection, model, table, is_wanted, *wanted)

        ended = read(EndedRunRow, runs, runs.c.run_id.in_(_newest_ids(is_wanted)))
        active = read(Deployment, deployments, deployments.c.is_active == true())
        verdicts = read(VerdictRow, live_verdicts, live_verdicts.c.measured_on == latest_measurement())
        savings = read(SavingRow, live_savings)
        open_alerts = read(Alert, alerts, alerts.c.closed_at.is_(None))
        tried = read(Canary, canaries, canaries.c.ended_at.is_(None))
    return [
        EntityState(
            entity_id=row.entity_id,
            entity_code=row.entity_code,
            control_run_id=row.control_run_id,
            is_control_declined=bool(row.is_control_declined),
            newest=max(ended[row.entity_id], key=lambda run: (run.created_at, run.run_id), default=None),
            good=next((run for run in ended[row.entity_id] if _is_good(run)), None),
            active=tuple(sorted(active[row.entity_id], key=lambda live: (-live.traffic_pct, live.run_id))),
            verdicts=tuple(verdicts[row.entity_id]),
            savings=tuple(savings[row.entity_id]),
            alerts=tuple(open_alerts[row.entity_id]),
            canary=next(iter(tried[row.entity_id]), None),
        )
        for row in found
    ]


def _is_good(run: EndedRunRow) -> bool:
    return run.status == "completed" and run.validation_status == "passed"


def _newest_ids(is_wanted: ColumnElement[bool]) -> Select[Any]:
    """The newest run of each entity, and its newest that can be deployed."""
    picked = union(*(select(newest.label("run_id")).where(is_wanted) for newest in (newest_id(), newest_good_id())))
    return select(picked.subquery().c.run_id)


def _by_entity(
    connection: Connection, model: type[AnyRecord], table: Table, is_wanted: ColumnElement[bool], *wanted: Any
) -> defaultdict[int, list[AnyRecord]]:
    """{entity_id: its records}, in the order of the table's key; an entity without any has an empty list."""
    columns = (table.c[name] for name in model.model_fields)
    statement = (
        select(table.c.entity_id.label("of_entity"), *columns)
        .join(entities, entities.c.entity_id == table.c.entity_id)
        .where(is_wanted, *wanted)
        .order_by(*table.primary_key)
    )
    found: defaultdict[int, list[AnyRecord]] = defaultdict(list)
    for row in connection.execute(statement).mappings():
        found[row["of_entity"]].append(model.model_validate(dict(row)))
    return found
