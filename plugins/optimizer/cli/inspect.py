"""Commands that read the control plane and change nothing."""

from typing import Annotated, Any

import typer

from optimizer.cli.control_plane import connect
from optimizer.cli.options import AsJson, EntityCode, RunId
from optimizer.control_plane import deployment_history, registry
from optimizer.control_plane import entities as entity_rows
from optimizer.control_plane import runs as run_rows
from optimizer.errors import ConfigError
from optimizer.presentation.terminal import print_json, print_table


def runs(
    entity: Annotated[str | None, typer.Argument(metavar="[ENTITY]", help="Only this entity's runs.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many runs.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List runs, the newest first."""
    engine = connect()
    good, broken = entity_rows.read_definitions(engine)
    codes = {d.entity.entity_id: d.entity.entity_code for d in good}
    if entity is not None and entity not in (known := sorted([*codes.values(), *(b.entity_code for b in broken)])):
        raise ConfigError(entity_rows.unknown_entity(entity, known=known))
    found = run_rows.list_runs(engine, entity_code=entity, limit=limit)
    if as_json:
        return print_json(
            [
                {
                    **run.model_dump(mode="json", exclude={"config_snapshot", "readiness_figures"}),
                    "validation": run.outcome,
                }
                for run in found
            ]
        )
    columns = ["run", "entity", "status", "validation", "by", "bids", "segments", "served", "median bid", "started UTC"]
    print_table(
        f"Runs of {entity}" if entity else "Runs",
        columns,
        (
            [
                run.run_id,
                codes.get(run.entity_id, str(run.entity_id)),
                run.status_text,
                run.outcome,
                run.triggered_by,
                run.total_bids,
                run.segments_count,
                run.segments_in_memcache,
                run.bid_median,
                f"{run.started_at:%m-%d %H:%M}" if run.started_at else None,
            ]
            for run in found
        ),
    )


def outputs(run: RunId, as_json: AsJson = False) -> None:
    """List the objects of a run and where they are."""
    engine = connect()
    run_rows.read_run(engine, run)
    found = registry.read_outputs(engine, run)
    if as_json:
        return print_json([output.model_dump() for output in found])
    print_table(
        f"Outputs of run {run}",
        ["type", "rows", "bytes", "sha256", "where"],
        (
            [o.output_type, o.row_count, o.byte_count, (o.sha256 or "")[:12], f"s3://{o.s3_bucket}/{o.s3_key}"]
            for o in found
        ),
    )


def entities(as_json: AsJson = False) -> None:
    """List the entities, with what is live and what is wrong."""
    engine = connect()
    good, broken = entity_rows.read_definitions(engine)
    active, outcomes = deployment_history.list_active(engine), run_rows.read_active_outcomes(engine)
    rows: list[dict[str, Any]] = [
        {
            "entity_code": d.entity.entity_code,
            "object_id": d.entity.object_id,
            "status": "active" if d.entity.status == "A" else "inactive",
            "version": d.version_code,
            "active_run_id": d.entity.active_run_id,
            "traffic": {x.run_id: x.traffic_pct for x in active.get(d.entity.entity_code, ())},
            "validation": outcomes.get(d.entity.active_run_id or ""),
            "s3_base_path": d.entity.s3_base_path,
        }
        for d in good
    ]
    wrong = [{"entity_code": row.entity_code, "problem": row.reason} for row in broken]
    if as_json:
        return print_json({"entities": rows, "broken": wrong})
    print_table(
        "Entities",
        ["entity", "object", "status", "version", "live traffic", "validation", "outputs"],
        (
            [
                r["entity_code"],
                str(r["object_id"]),
                r["status"],
                r["version"],
                ", ".join(f"{run} {share}%" for run, share in r["traffic"].items()) or None,
                r["validation"],
                r["s3_base_path"],
            ]
            for r in rows
        ),
    )
    if wrong:
        print_table("invalid", ["entity", "problem"], (list(row.values()) for row in wrong))


def config(entity: EntityCode, as_json: AsJson = False) -> None:
    """Show an entity's effective configuration and where each value comes from."""
    definition = entity_rows.read_definition(connect(), entity)
    merged = definition.merged_config()
    if as_json:
        return print_json({**merged.by_section(), "sources": dict(merged.sources)})
    specs = {key.config_key: key for key in definition.config_keys}
    rows = [
        [section, key, value, merged.sources[key], specs[key].default_value, _bounds(specs[key])]
        for section, values in merged.by_section().items()
        for key, value in sorted(values.items())
    ]
    print_table(f"Configuration of {entity}", ["section", "key", "value", "from", "default", "allowed"], rows)


def _bounds(key: Any) -> str | None:
    if key.allowed_values:
        return ", ".join(key.allowed_values)
    return f"{key.min_value or ''} .. {key.max_value or ''}" if key.min_value or key.max_value else None
