"""What a completed run leaves in the control plane: totals, features, metrics and the objects it wrote."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict
from sqlalchemy import Connection, Engine, RowMapping, Table, delete, insert, select, update

from optimizer.control_plane.audit import AuditedChange, Author, write_audit
from optimizer.control_plane.control_choices import SET_CONTROL
from optimizer.control_plane.engine import reading, transaction
from optimizer.control_plane.records import (
    Measure,
    Record,
    Run,
    RunFeature,
    RunMacro,
    RunMetric,
    RunOutput,
    SelectedFeature,
    ValidationStatus,
    WrittenObject,
    read_rows,
)
from optimizer.control_plane.tables import (
    entities,
    run_feature_macros,
    run_features,
    run_metrics,
    run_outputs,
    runs,
)
from optimizer.control_plane.transitions import find_run, fit_message, move_run, wrong_state

MANIFEST_TYPE = "manifest"
"""output_type of manifest.json."""

CONTROL_TRIGGER = "control"
"""trigger_type of a run that bids what was usual before the optimizer."""

_LISTS = ("features", "macro_combination", "macro_format", "metrics", "outputs")

READINESS_FIGURES = {
    "target": None,
    "identification": ("is_learning", "learning_since", "learning_days_left"),
}
"""Section: the metrics that opt_runs.readiness_figures repeats, None for all; not every account may read metrics."""


class RunFigures(Record):
    """What a run found out, written or not; bids are CPM, metrics are (section, key, value).

    `validation_warnings` counts the checks that warned; `error_message` says why the validation failed, and without one
    the run's earlier messages are cleared.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    total_bids: int
    total_views: int
    total_clicks: int
    total_segments: int
    segments_count: int
    segments_in_memcache: int
    domains_count: int
    npis_count: int
    features_used: str
    bid_median: Measure
    bid_min: Measure
    bid_max: Measure
    validation_status: ValidationStatus
    validation_warnings: int = 0
    error_message: Annotated[str, AfterValidator(fit_message)] | None = None
    features: tuple[SelectedFeature, ...]
    macro_combination: str
    macro_format: str = "adx"
    metrics: tuple[tuple[str, str, Measure], ...]


class RunResults(RunFigures):
    """All that `register_results` writes: the figures, and what stands on S3."""

    s3_output_path: str
    outputs: tuple[WrittenObject, ...]


def register_results(engine: Engine, run_id: str, *, results: RunResults, now: datetime) -> Run:
    """Complete the running run with its results, all in one transaction, and return it.

    A run that has completed already is returned as it is.

    Raises:
        RunStateError: the run is pending, failed or cancelled, or there is none.
    """
    with transaction(engine) as connection:
        run = find_run(connection, run_id, lock=True)
        if run.status == "completed":
            return run
        return _finish(connection, run, status="completed", figures=results, now=now)


def register_control(
    engine: Engine,
    source_run_id: str,
    *,
    control_run_id: str,
    output_uri: str,
    outputs: Sequence[Mapping[str, Any]],
    author: Author,
    now: datetime,
) -> str:
    """Add the completed run that bids what was usual, make it its entity's control, and return the control's run_id.

    It has the window, features and key of the run that it was made from. Where the entity has a control already,
    nothing is written.

    Raises:
        RunStateError: there is no such run.
    """
    with transaction(engine) as connection:
        source = find_run(connection, source_run_id)
        of_entity = entities.c.entity_id == source.entity_id
        known = connection.scalar(select(entities.c.control_run_id).where(of_entity).with_for_update())
        if known is not None:
            return str(known)
        times = dict.fromkeys(("created_at", "started_at", "heartbeat_at", "completed_at"), now)
        checksum = _manifest_sha256(WrittenObject.model_validate(row) for row in outputs)
        written = {"s3_output_path": output_uri, "manifest_sha256": checksum}
        own = {"run_id": control_run_id, "triggered_by": author.name, **written, **times}
        _copy_run(connection, source_run_id, own=own)
        _replace_rows(connection, run_outputs, run_id=control_run_id, rows=outputs)
        connection.execute(update(entities).where(of_entity).values(control_run_id=control_run_id))
        write_audit(
            connection,
            author,
            AuditedChange(
                SET_CONTROL,
                entity_id=source.entity_id,
                run_id=control_run_id,
                before={"control_run_id": None},
                after={"control_run_id": control_run_id},
            ),
            now=now,
        )
        return control_run_id


def _copy_run(connection: Connection, source_run_id: str, *, own: Mapping[str, Any]) -> None:
    """Add a run with the window, features and key of another and columns of its own; no DAG run made it."""
    copied = select(runs).where(runs.c.run_id == source_run_id)
    row = dict(connection.execute(copied).mappings().one())
    without = {**dict.fromkeys(("dag_id", "dag_run_id", "error_message", "held_by")), "validation_warnings": 0}
    names = {"run_code": own["run_id"], "trigger_type": CONTROL_TRIGGER}
    connection.execute(insert(runs).values(**{**row, **without, **names, **own}))
    for table in (run_features, run_feature_macros):
        rows = connection.execute(select(table).where(table.c.run_id == source_run_id)).mappings()
        kept = [{name: value for name, value in found.items() if name != "id"} for found in rows]
        _replace_rows(connection, table, run_id=own["run_id"], rows=kept)


def register_dry_run(engine: Engine, run_id: str, *, figures: RunFigures, now: datetime) -> Run:
    """End the running dry run with its figures, all in one transaction, and return it.

    It is cancelled, with a validation_status: only completed runs can be deployed.

    Raises:
        RunStateError: the run is not running, or there is none.
    """
    with transaction(engine) as connection:
        run = find_run(connection, run_id, lock=True)
        return _finish(connection, run, status="cancelled", figures=figures, now=now, is_dry_run=True)


def read_features(engine: Engine, run_id: str) -> list[RunFeature]:
    """Return the run's features in the order of its segment key."""
    return read_rows(RunFeature, _read(engine, run_features, run_id=run_id, order=("feature_order",)))


def read_metrics(engine: Engine, run_id: str) -> list[RunMetric]:
    """Return the run's metrics by section and key; the optimizer's own account may write but not read them."""
    return read_rows(RunMetric, _read(engine, run_metrics, run_id=run_id, order=("metric_section", "metric_key")))


def read_outputs(engine: Engine, run_id: str) -> list[RunOutput]:
    """Return the objects that the run wrote, by key."""
    return read_rows(RunOutput, _read(engine, run_outputs, run_id=run_id, order=("s3_key",)))


def read_macro(engine: Engine, run_id: str) -> RunMacro | None:
    """Return the run's key template, or None where it has registered none."""
    rows = read_rows(RunMacro, _read(engine, run_feature_macros, run_id=run_id, order=("id",)))
    return rows[0] if rows else None


def _finish(
    connection: Connection,
    run: Run,
    *,
    status: str,
    figures: RunFigures,
    now: datetime,
    **columns: object,
) -> Run:
    values = figures.model_dump(exclude=set(_LISTS))
    values |= {"status": status, "completed_at": now, "heartbeat_at": now, **columns}
    values["readiness_figures"] = _readiness_figures(figures.metrics)
    values["manifest_sha256"] = _manifest_sha256(_outputs(figures))
    if not move_run(connection, run.run_id, leaving=("running",), values=values):
        raise wrong_state(run, needed="running")
    for table, rows in _child_rows(figures).items():
        _replace_rows(connection, table, run_id=run.run_id, rows=rows)
    return find_run(connection, run.run_id)


def _child_rows(results: RunFigures) -> dict[Table, list[dict[str, Any]]]:
    macro = {"macro_combination": results.macro_combination, "macro_format": results.macro_format}
    names = ("metric_section", "metric_key", "metric_value")
    return {
        run_features: [feature.model_dump() for feature in results.features],
        run_feature_macros: [macro],
        run_metrics: [dict(zip(names, metric, strict=True)) for metric in results.metrics],
        run_outputs: [output.model_dump() for output in _outputs(results)],
    }


def _outputs(results: RunFigures) -> tuple[WrittenObject, ...]:
    return results.outputs if isinstance(results, RunResults) else ()


def _manifest_sha256(outputs: Iterable[WrittenObject]) -> str | None:
    return next((output.sha256 for output in outputs if output.output_type == MANIFEST_TYPE), None)


def _readiness_figures(metrics: Iterable[tuple[str, str, float | None]]) -> dict[str, dict[str, float | None]]:
    found: dict[str, dict[str, float | None]] = {}
    for section, key, value in metrics:
        if section in READINESS_FIGURES and key in (READINESS_FIGURES[section] or (key,)):
            found.setdefault(section, {})[key] = value
    return found


def _replace_rows(connection: Connection, table: Table, *, run_id: str, rows: Iterable[Mapping[str, Any]]) -> None:
    connection.execute(delete(table).where(table.c.run_id == run_id))
    own_rows = [{**row, "run_id": run_id} for row in rows]
    if own_rows:
        connection.execute(insert(table), own_rows)


def _read(engine: Engine, table: Table, *, run_id: str, order: tuple[str, ...]) -> Iterable[RowMapping]:
    statement = select(table).where(table.c.run_id == run_id).order_by(*(table.c[name] for name in order))
    with reading(engine) as connection:
        return connection.execute(statement).mappings().all()
