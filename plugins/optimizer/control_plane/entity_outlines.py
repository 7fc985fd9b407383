"""Of every active entity the few columns that its readiness follows from: to sort and count a fleet at once."""

from collections import defaultdict
from typing import Annotated, Any

from pydantic import BeforeValidator
from sqlalchemy import ColumnElement, Connection, Engine, FromClause, RowMapping, ScalarSelect, case, func, select, true

from optimizer.control_plane.columns import Json
from optimizer.control_plane.engine import reading
from optimizer.control_plane.newest import latest_measurement, newest_good_id, newest_id
from optimizer.control_plane.records import AnyRecord, ReadinessFigures, Record, Source, UtcMoment
from optimizer.control_plane.tables import alerts, deployments, entities, live_verdicts, runs
from optimizer.core.config.merge import SECTIONS

_AGE_PATHS = [f"$.{section}.max_data_age_days" for section in SECTIONS]


def _first_known(found: Any) -> Any:
    """Of a key's values in all sections, of which one has it: a list with NULLs on SQLite and without on MariaDB."""
    return next((value for value in found or () if value is not None), None)


class FailedRunOutline(Record):
    """A run that failed, or whose validation did."""

    run_id: str
    ended_at: UtcMoment


class GoodRunOutline(Record):
    """A run that can be deployed.

    data_end_dt: the end of its window. max_data_age_days: of its configuration; None where that has none.
    """

    run_id: str
    ended_at: UtcMoment
    data_end_dt: UtcMoment | None
    readiness_figures: ReadinessFigures | None
    max_data_age_days: Annotated[int | None, BeforeValidator(_first_known)]


class LiveOutline(Record):
    """A live run. is_below_forecast: the latest measurement found one of its figures below its forecast."""

    run_id: str
    traffic_pct: int
    source: Source
    is_below_forecast: bool


class EntityOutline(Record):
    """An entity in outline.

    good: the newest completed run whose validation passed, without dry runs and controls.
    failed: the newest run that ended, where that one cannot be deployed.
    active: its live runs, the largest share first; empty where none of them is below its forecast.
    alert_kinds: of its open alerts.
    """

    entity_code: str
    control_run_id: str | None
    good: GoodRunOutline | None
    failed: FailedRunOutline | None
    active: tuple[LiveOutline, ...]
    alert_kinds: frozenset[str]


def read_outlines(engine: Engine) -> list[EntityOutline]:
    """Return the outlines of the active entities by entity_code, in two statements."""
    good, failed = runs.alias("good"), runs.alias("failed")
    is_newest = (failed.c.entity_id == entities.c.entity_id) & (failed.c.run_id == newest_id())
    statement = (
        select(
            entities.c.entity_id,
            entities.c.entity_code,
            entities.c.control_run_id,
            _open_kinds().label("alert_kinds"),
            *(column.label(f"failed_{name}") for name, column in _outline_of(failed).items()),
            *(column.label(f"good_{name}") for name, column in _good_outline_of(good).items()),
        )
        .select_from(entities)
        .outerjoin(good, (good.c.entity_id == entities.c.entity_id) & (good.c.run_id == newest_good_id()))
        .outerjoin(failed, is_newest & failed.c.run_id.is_distinct_from(good.c.run_id))
        .where(entities.c.status == "A")
        .order_by(entities.c.entity_code)
    )
    with reading(engine) as connection:
        found = connection.execute(statement).mappings().all()
        below = _read_below(connection)
    return [
        EntityOutline(
            entity_code=row["entity_code"],
            control_run_id=row["control_run_id"],
            good=_run(GoodRunOutline, row, "good"),
            failed=_run(FailedRunOutline, row, "failed"),
            active=tuple(below[row["entity_id"]]),
            alert_kinds=frozenset((row["alert_kinds"] or "").split(",")) - {""},
        )
        for row in found
    ]


def _outline_of(run: FromClause) -> dict[str, ColumnElement[Any]]:
    return {"run_id": run.c.run_id, "ended_at": func.coalesce(run.c.completed_at, run.c.created_at)}


def _good_outline_of(run: FromClause) -> dict[str, ColumnElement[Any]]:
    ages = func.json_extract(run.c.config_snapshot, *_AGE_PATHS, type_=Json)
    own = {name: run.c[name] for name in ("data_end_dt", "readiness_figures")}
    return {**_outline_of(run), **own, "max_data_age_days": ages}


def _run(model: type[AnyRecord], row: RowMapping, name: str) -> AnyRecord | None:
    if row[f"{name}_run_id"] is None:
        return None
    return model.model_validate({field: row[f"{name}_{field}"] for field in model.model_fields})


def _open_kinds() -> ScalarSelect[str]:
    """The kinds of the entity's open alerts, joined by commas."""
    is_open = (alerts.c.entity_id == entities.c.entity_id, alerts.c.closed_at.is_(None))
    return select(func.group_concat(alerts.c.kind.distinct())).where(*is_open).correlate(entities).scalar_subquery()


def _read_below(connection: Connection) -> dict[int, list[LiveOutline]]:
    """{entity_id: its live runs}, of the entities whose latest measurement found a run below its forecast."""
    is_below = (live_verdicts.c.compared_with == "forecast", live_verdicts.c.verdict == "below target")
    columns = [deployments.c[name] for name in ("entity_id", "run_id", "traffic_pct", "source")]
    is_own = func.max(case((live_verdicts.c.run_id == deployments.c.run_id, 1), else_=0))
    statement = (
        select(*columns, is_own.label("is_below_forecast"))
        .join(entities, entities.c.entity_id == deployments.c.entity_id)
        .join(live_verdicts, live_verdicts.c.entity_id == entities.c.entity_id)
        .where(entities.c.status == "A", deployments.c.is_active == true())
        .where(*is_below, live_verdicts.c.measured_on == latest_measurement())
        .group_by(*columns)
        .order_by(deployments.c.traffic_pct.desc(), deployments.c.run_id)
    )
    found: defaultdict[int, list[LiveOutline]] = defaultdict(list)
    for row in connection.execute(statement).mappings():
        found[row["entity_id"]].append(LiveOutline.model_validate(dict(row)))
    return found
