"""Of every active entity the few columns that its readiness follows from: to sort and count a fleet at once."""

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator
from sqlalchemy import Connection, Engine, ScalarSelect, case, func, select, true

from optimizer.control_plane.columns import Json
from optimizer.control_plane.engine import reading
from optimizer.control_plane.newest import latest_measurement, newest_good_id, newest_id
from optimizer.control_plane.records import ReadinessFigures, Record, Source, UtcMoment
from optimizer.control_plane.tables import alerts, deployments, entities, live_verdicts, runs
from optimizer.core.config.merge import SECTIONS

_AGE_PATHS = [f"$.{section}.max_data_age_days" for section in SECTIONS]


def _first_known(found: Any) -> Any:
    """Of a key's values in all sections, of which one has it: a list with NULLs on SQLite and without on MariaDB."""
    return next((value for value in found or () if value is not None), None)


class GoodRunOutline(Record):
    """A run that can be deployed.

    data_end_dt: the end of its window. max_data_age_days: of its configuration; None where that has none.
    """

    run_id: str
    ended_at: UtcMoment
    data_end_dt: UtcMoment | None
    readiness_figures: ReadinessFigures | None
    max_data_age_days: Annotated[int | None, BeforeValidator(_first_known)]


@dataclass(frozen=True, slots=True)
class LiveOutline:
    """A live run. is_below_forecast: the latest measurement found one of its figures below its forecast."""

    run_id: str
    traffic_pct: int
    source: Source
    is_below_forecast: bool


@dataclass(frozen=True, slots=True)
class EntityOutline:
    """An entity in outline.

    good: the newest completed run whose validation passed, without dry runs and controls.
    failed_run_id: the newest run that ended, where that one cannot be deployed.
    active: its live runs, the largest share first; empty where none of them is below its forecast.
    alert_kinds: of its open alerts.
    """

    entity_code: str
    control_run_id: str | None
    good: GoodRunOutline | None
    failed_run_id: str | None
    active: tuple[LiveOutline, ...]
    alert_kinds: frozenset[str]


class KeptOutlines:
    """Outlines of the newest good run of each entity, kept between reads: a run that can be deployed never changes."""

    def __init__(self) -> None:
        self._kept: dict[str, GoodRunOutline] = {}

    def find(self, connection: Connection, run_ids: Collection[str]) -> Mapping[str, GoodRunOutline]:
        """Return {run_id: its outline}; one statement reads those that are new, and the others are dropped then."""
        kept = self._kept
        if missing := [run_id for run_id in run_ids if run_id not in kept]:
            found = kept | _read_good(connection, missing)
            kept = self._kept = {run_id: found[run_id] for run_id in run_ids}
        return kept


def read_outlines(engine: Engine, kept: KeptOutlines | None = None) -> list[EntityOutline]:
    """Return the outlines of the active entities by entity_code, in two statements, and one for runs not kept yet."""
    statement = (
        select(
            entities.c.entity_id,
            entities.c.entity_code,
            entities.c.control_run_id,
            newest_id().label("newest_run_id"),
            newest_good_id().label("good_run_id"),
            _open_kinds().label("alert_kinds"),
        )
        .where(entities.c.status == "A")
        .order_by(entities.c.entity_code)
    )
    with reading(engine) as connection:
        found = connection.execute(statement).all()
        below = _read_below(connection)
        good_ids = [row.good_run_id for row in found if row.good_run_id is not None]
        good = (kept or KeptOutlines()).find(connection, good_ids)
    return [
        EntityOutline(
            entity_code=row.entity_code,
            control_run_id=row.control_run_id,
            good=None if row.good_run_id is None else good[row.good_run_id],
            failed_run_id=None if row.newest_run_id == row.good_run_id else row.newest_run_id,
            active=tuple(below.get(row.entity_id, ())),
            alert_kinds=frozenset(row.alert_kinds.split(",")) if row.alert_kinds else frozenset(),
        )
        for row in found
    ]


def _read_good(connection: Connection, run_ids: Collection[str]) -> dict[str, GoodRunOutline]:
    ages = func.json_extract(runs.c.config_snapshot, *_AGE_PATHS, type_=Json)
    statement = select(
        runs.c.run_id,
        func.coalesce(runs.c.completed_at, runs.c.created_at).label("ended_at"),
        runs.c.data_end_dt,
        runs.c.readiness_figures,
        ages.label("max_data_age_days"),
    ).where(runs.c.run_id.in_(list(run_ids)))
    return {row["run_id"]: GoodRunOutline.model_validate(dict(row)) for row in connection.execute(statement).mappings()}


def _open_kinds() -> ScalarSelect[str]:
    """The kinds of the entity's open alerts, joined by commas."""
    is_open = (alerts.c.entity_id == entities.c.entity_id, alerts.c.open_marker == 1)  # all of it in one index
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
    for entity_id, run_id, traffic_pct, source, is_below_forecast in connection.execute(statement):
        found[entity_id].append(LiveOutline(run_id, traffic_pct, source, bool(is_below_forecast)))
    return found
