"""One run with all that the control plane knows of it, and an entity's runs page by page: for pages that show them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, Engine, and_, func, null, or_, select

from optimizer.control_plane.engine import reading
from optimizer.control_plane.live_rows import LiveDay, LiveVerdict
from optimizer.control_plane.records import (
    AnyRecord,
    AuditRow,
    Deployment,
    Run,
    RunFeature,
    RunOutput,
    read_rows,
    status_words,
)
from optimizer.control_plane.registry import CONTROL_TRIGGER
from optimizer.control_plane.tables import (
    audit,
    deployments,
    entities,
    live_daily,
    live_verdicts,
    run_features,
    run_outputs,
    runs,
)

RunKind = Literal["all", "deployable", "warned", "failed", "running", "dry run", "live"]
"""Which of an entity's runs are listed."""

MOST_DAYS = 400
MOST_CHANGES = 50


@dataclass(frozen=True, slots=True)
class RunView:
    """A run and what happened to it.

    deployments: now and in the past, the oldest first.
    verdicts: of the latest morning on which the run was measured.
    changes: audited changes that name the run, the oldest first.
    """

    run: Run
    entity_code: str
    features: tuple[RunFeature, ...]
    outputs: tuple[RunOutput, ...]
    deployments: tuple[Deployment, ...]
    days: tuple[LiveDay, ...]
    verdicts: tuple[LiveVerdict, ...]
    changes: tuple[AuditRow, ...]


@dataclass(frozen=True, slots=True)
class RunPage:
    """Some of an entity's runs, the newest first, without their configuration; total: how many there are.

    percents: {run_id: percent of the traffic} of those that are live.
    """

    runs: tuple[Run, ...]
    total: int
    percents: dict[str, int]


def find_owner(engine: Engine, run_id: str) -> tuple[Run, str] | None:
    """Return a run and the code of its entity, or None where there is no such run."""
    joined = select(runs, entities.c.entity_code).join(entities, entities.c.entity_id == runs.c.entity_id)
    with reading(engine) as connection:
        row = connection.execute(joined.where(runs.c.run_id == run_id)).mappings().one_or_none()
    return None if row is None else (Run.model_validate(dict(row)), str(row["entity_code"]))


def read_view(engine: Engine, run: Run, entity_code: str) -> RunView:
    """Return the run with what happened to it, in six statements."""
    of_run = run.run_id
    with reading(engine) as connection:
        newest = select(func.max(live_verdicts.c.measured_on)).where(
            live_verdicts.c.entity_id == run.entity_id, live_verdicts.c.run_id == of_run
        )
        is_newest = (live_verdicts.c.entity_id == run.entity_id, live_verdicts.c.run_id == of_run)
        return RunView(
            run=run,
            entity_code=entity_code,
            features=_rows(connection, RunFeature, run_features, [run_features.c.run_id == of_run], "feature_order"),
            outputs=_rows(connection, RunOutput, run_outputs, [run_outputs.c.run_id == of_run], "s3_key"),
            deployments=_rows(
                connection, Deployment, deployments, _of_entity(deployments, run), "deployment_id", limit=MOST_CHANGES
            ),
            days=_rows(connection, LiveDay, live_daily, _of_entity(live_daily, run), "day", limit=MOST_DAYS),
            verdicts=_rows(
                connection,
                LiveVerdict,
                live_verdicts,
                [*is_newest, live_verdicts.c.measured_on == newest.scalar_subquery()],
                "id",
            ),
            changes=_rows(connection, AuditRow, audit, [audit.c.run_id == of_run], "audit_id", limit=MOST_CHANGES),
        )


def list_page(
    engine: Engine, entity_code: str, *, kind: RunKind = "all", search: str = "", limit: int, offset: int = 0
) -> RunPage:
    """Return a page of an entity's runs, in three statements.

    Args:
        search: only runs whose run_id begins with this text.
    """
    with reading(engine) as connection:
        entity_id = connection.scalar(select(entities.c.entity_id).where(entities.c.entity_code == entity_code))
        is_live = and_(deployments.c.entity_id == entity_id, deployments.c.is_active.is_(True))
        live = connection.execute(select(deployments.c.run_id, deployments.c.traffic_pct).where(is_live))
        percents = {row.run_id: row.traffic_pct for row in live}
        wanted = [runs.c.entity_id == entity_id, *_wanted(kind, percents)]
        if search:
            wanted.append(runs.c.run_id.startswith(search, autoescape=True))
        total = connection.scalar(select(func.count()).select_from(runs).where(*wanted)) or 0
        # A configuration is some kilobytes, which a list does not show.
        columns = [null().label(one.name) if one.name == "config_snapshot" else one for one in runs.c]
        newest = select(*columns).where(*wanted).order_by(runs.c.created_at.desc(), runs.c.run_id.desc())
        found = connection.execute(newest.limit(limit).offset(offset)).mappings()
        return RunPage(tuple(read_rows(Run, found)), int(total), percents)


def newest_comparable(engine: Engine, entity_code: str, *, limit: int) -> list[Run]:
    """Return the newest runs that completed or were dry runs with results, which can be compared; controls aside."""
    has_results = or_(
        runs.c.status.in_(status_words("completed")),
        and_(runs.c.is_dry_run.is_(True), runs.c.validation_status.is_not(None)),
    )
    kept = (runs.c.outputs_removed_at.is_(None), runs.c.trigger_type != CONTROL_TRIGGER)
    joined = select(runs).join(entities, entities.c.entity_id == runs.c.entity_id)
    wanted = joined.where(entities.c.entity_code == entity_code, has_results, *kept)
    with reading(engine) as connection:
        rows = connection.execute(wanted.order_by(runs.c.created_at.desc(), runs.c.run_id.desc()).limit(limit))
        return read_rows(Run, rows.mappings())


def read_live_run_id(engine: Engine, entity_code: str) -> str | None:
    """Return the entity's live run with the largest share, its control aside; None where nothing is live."""
    is_live = (deployments.c.is_active.is_(True), deployments.c.source != "control")
    joined = select(deployments.c.run_id).join(entities, entities.c.entity_id == deployments.c.entity_id)
    by_share = (deployments.c.traffic_pct.desc(), deployments.c.run_id)
    largest = joined.where(entities.c.entity_code == entity_code, *is_live).order_by(*by_share).limit(1)
    with reading(engine) as connection:
        return connection.scalar(largest)


def read_days_of(engine: Engine, entity_id: int, run_ids: Collection[str]) -> list[LiveDay]:
    """Return the daily figures of these runs of an entity, in the order of days and runs."""
    wanted = (live_daily.c.entity_id == entity_id, live_daily.c.run_id.in_(list(run_ids)))
    with reading(engine) as connection:
        rows = connection.execute(select(live_daily).where(*wanted).order_by(live_daily.c.day, live_daily.c.run_id))
        return read_rows(LiveDay, rows.mappings())


def _wanted(kind: RunKind, percents: dict[str, int]) -> Sequence[ColumnElement[bool]]:
    is_passed = runs.c.validation_status == "passed"
    match kind:
        case "deployable":
            return [runs.c.status.in_(status_words("completed")), is_passed]
        case "warned":
            return [is_passed, runs.c.validation_warnings > 0]
        case "failed":
            return [or_(runs.c.status == "failed", runs.c.validation_status == "failed")]
        case "running":
            return [runs.c.status.in_(status_words("pending", "running"))]
        case "dry run":
            return [runs.c.is_dry_run.is_(True)]
        case "live":
            return [runs.c.run_id.in_(list(percents))]
        case _:
            return []


def _of_entity(table: Any, run: Run) -> list[ColumnElement[bool]]:
    return [table.c.entity_id == run.entity_id, table.c.run_id == run.run_id]


def _rows(
    connection: Connection,
    model: type[AnyRecord],
    table: Any,
    wanted: Sequence[ColumnElement[bool]],
    order: str,
    *,
    limit: int | None = None,
) -> tuple[AnyRecord, ...]:
    """The newest rows, in their order."""
    statement = select(table).where(*wanted).order_by(table.c[order].desc()).limit(limit)
    return tuple(reversed(read_rows(model, connection.execute(statement).mappings())))
