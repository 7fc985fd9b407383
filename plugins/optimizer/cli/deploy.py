"""The commands that split an entity's traffic between its runs, take a split back, and show what was live when."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from typing import Annotated, Any

import typer
from rich.text import Text
from sqlalchemy import Engine

from optimizer.artifacts.store import ObjectStore
from optimizer.cli.control_plane import connect
from optimizer.cli.objects import open_store
from optimizer.cli.options import AsJson, By, Comment, EntityCode, author_of
from optimizer.control_plane import (
    canaries,
    canary_splits,
    deployment_history,
    deployments,
    entities,
    live_records,
    rollbacks,
)
from optimizer.control_plane.alerts import read_open
from optimizer.control_plane.audit import read_audit
from optimizer.control_plane.deployments import SplitTerms
from optimizer.control_plane.promotions import scheduled_from
from optimizer.control_plane.records import Deployment
from optimizer.control_plane.splits import WHOLE_PCT, Split, parse_split
from optimizer.deployment.canary_state import canary_sentence
from optimizer.deployment.control_notice import read_control_notice
from optimizer.deployment.served_files import file_problem, require_files
from optimizer.deployment.serving_snapshots import late_sentence, update_after_change
from optimizer.deployment.split_settings import split_settings
from optimizer.errors import ConfigError, DeploymentError, OptimizerError, UnavailableError
from optimizer.presentation.terminal import console, print_json, print_table

Shares = Annotated[list[str], typer.Argument(metavar="RUN=PERCENT...", help="Runs and their shares, 100 together.")]
Limit = Annotated[int, typer.Option(min=1, max=1000, help="How many.")]
Unchecked = Annotated[
    bool, typer.Option("--unchecked", help="Do not look whether the runs' files can be served; needs no S3.")
]
Pin = Annotated[bool, typer.Option("--pin", help="Keep the split: scheduled runs do not replace it.")]
NoControl = Annotated[bool, typer.Option("--no-control", help="Give the control nothing: the shares as they are.")]


def deploy(
    entity: EntityCode,
    split: Shares,
    by: By = None,
    comment: Comment = "",
    pin: Pin = False,
    no_control: NoControl = False,
    unchecked: Unchecked = False,
    as_json: AsJson = False,
) -> None:
    """Split an entity's traffic between validated runs, by hand. The control keeps its share."""
    engine, author = connect(), author_of(by, comment)
    settings = split_settings(entities.read_definition(engine, entity))
    chosen = parse_split(split, entity_code=entity)
    if not unchecked:
        with _checking_files(entity) as store:
            require_files(chosen, entity_code=entity, engine=engine, store=store)
    active = deployments.deploy(
        engine,
        entity_code=entity,
        split=chosen,
        author=author,
        now=datetime.now(UTC),
        terms=SplitTerms(is_pinned=pin, control_pct=0 if no_control else settings.control_pct),
    )
    _print_active(entity, active, as_json=as_json)
    _write_snapshot(engine, entity, unchecked=unchecked)
    if not as_json:
        _say_until_when(active, days=settings.manual_split_days)
        if (notice := read_control_notice(engine, entity)) is not None:
            console.print(Text(f"Note: {notice}."))


def rollback(
    entity: EntityCode, by: By = None, comment: Comment = "", unchecked: Unchecked = False, as_json: AsJson = False
) -> None:
    """Go back to the split before the present one; once more goes back further."""
    engine, author = connect(), author_of(by, comment or "rollback")
    if unchecked:
        plan = rollbacks.plan_rollback(engine, entity)
    else:
        with _checking_files(entity) as store:
            plan = rollbacks.plan_rollback(engine, entity, problem_of=partial(file_problem, store=store))
    active = deployments.deploy(
        engine,
        entity_code=entity,
        split=plan.split,
        author=author,
        now=datetime.now(UTC),
        terms=SplitTerms(seen=plan.seen),
    )
    _print_active(entity, active, as_json=as_json)
    _write_snapshot(engine, entity, unchecked=unchecked)
    if not as_json:
        for reason in plan.skipped:
            console.print(Text(f"Note: {reason}."))


def pin(entity: EntityCode, by: By = None, comment: Comment = "", as_json: AsJson = False) -> None:
    """Keep the active split: scheduled runs do not replace it."""
    _set_pinned(entity, by, comment, is_pinned=True, as_json=as_json)


def unpin(entity: EntityCode, by: By = None, comment: Comment = "", as_json: AsJson = False) -> None:
    """Let scheduled runs replace the active split again."""
    _set_pinned(entity, by, comment, is_pinned=False, as_json=as_json)


def control(
    entity: EntityCode,
    run: Annotated[str | None, typer.Argument(help="The run that becomes the control.")] = None,
    none: Annotated[bool, typer.Option("--none", help="Have no control.")] = False,
    by: By = None,
    comment: Comment = "",
    as_json: AsJson = False,
) -> None:
    """Show the entity's control, or choose the run whose bids the control share gets from the next split on."""
    engine = connect()
    if run is not None and none:
        raise ConfigError(f"entity {entity}: give a run or --none, and not both")
    if run is not None or none:
        author = author_of(by, comment)
        deployments.set_control(engine, entity_code=entity, run_id=run, author=author, now=datetime.now(UTC))
    definition = entities.read_definition(engine, entity)
    found = {"control_run_id": definition.entity.control_run_id, "control_pct": split_settings(definition).control_pct}
    if as_json:
        return print_json(found)
    if found["control_run_id"] is None:
        return console.print(Text(f"{entity} has no control; `optimizer control {entity} RUN` chooses one."))
    console.print(Text(f"The control of {entity} is run {found['control_run_id']}, {found['control_pct']} %."))


class CanaryAction(StrEnum):
    """What a person does with the run that is tried."""

    SHOW = "show"
    PAUSE = "pause"
    RESUME = "resume"
    ABORT = "abort"


def canary(
    entity: EntityCode,
    action: Annotated[CanaryAction, typer.Argument(help="What to do.")] = CanaryAction.SHOW,
    by: By = None,
    comment: Comment = "",
    as_json: AsJson = False,
) -> None:
    """Show the run that is tried on part of the traffic, pause it at its step, let it go on, or take it off."""
    engine, author, now = connect(), author_of(by, comment), datetime.now(UTC)
    entities.require_entity(engine, entity)
    tried = canaries.read_open(engine, entity)
    if action is not CanaryAction.SHOW and tried is None:
        raise DeploymentError(
            f"entity {entity}: no run is being tried; `optimizer deployments {entity}` shows the split"
        )
    if action is CanaryAction.ABORT and tried is not None:
        active = canary_splits.abort_canary(engine, entity_code=entity, run_id=tried.run_id, author=author, now=now)
        _print_active(entity, active, as_json=as_json)
        return _write_snapshot(engine, entity)
    if action is not CanaryAction.SHOW:
        is_paused = action is CanaryAction.PAUSE
        tried = canary_splits.pause_canary(engine, entity_code=entity, author=author, now=now, is_paused=is_paused)
    if as_json:
        return print_json(None if tried is None else tried.model_dump())
    if tried is None:
        return console.print(Text(f"No run of {entity} is being tried."))
    verdicts, incidents = live_records.read_verdicts(engine, entity), read_open(engine, entity)
    console.print(Text(canary_sentence(tried, verdicts=verdicts, incidents=incidents)))


def show_audit(entity: EntityCode, limit: Limit = 20, as_json: AsJson = False) -> None:
    """Show who changed what of an entity, the newest first."""
    engine = connect()
    entities.require_entity(engine, entity)
    rows = read_audit(engine, entity, limit=limit)
    if as_json:
        return print_json([row.model_dump() for row in rows])
    print_table(
        f"Changes of {entity}, the newest first",
        ["UTC", "who", "action", "before", "after", "comment"],
        (
            [row.occurred_at, row.actor, row.action, _shortly(row.before_value), _shortly(row.after_value), row.comment]
            for row in rows
        ),
    )


@contextmanager
def _checking_files(entity: str) -> Iterator[ObjectStore]:
    """Give the object store; where it does not answer, the error says that nothing was changed and how to go on."""
    with open_store() as store:
        try:
            yield store
        except UnavailableError as error:
            raise UnavailableError(
                f"entity {entity}: nothing was changed, because the runs' files could not be checked: {error}. Try "
                "again, or add --unchecked to skip the check"
            ) from error


def _write_snapshot(engine: Engine, entity: str, *, unchecked: bool = False) -> None:
    """Write the entity's snapshot; where that fails, say on standard error that it comes later.

    unchecked: the object store is left alone; the DAG `pending_runs` writes the snapshot.
    """
    if unchecked:
        return
    try:
        with open_store() as store:
            late = update_after_change(entity, engine=engine, store=store, now=datetime.now(UTC))
    except OptimizerError as error:
        late = late_sentence(entity, str(error))
    if late is not None:
        typer.echo(f"Note: {late}.", err=True)


def _set_pinned(entity: str, by: str | None, comment: str, *, is_pinned: bool, as_json: bool) -> None:
    active = deployments.set_pinned(
        connect(), entity_code=entity, is_pinned=is_pinned, author=author_of(by, comment), now=datetime.now(UTC)
    )
    _print_active(entity, active, as_json=as_json)


def _say_until_when(active: list[Deployment], *, days: int) -> None:
    if any(row.is_pinned and row.source != "control" for row in active):
        return console.print(Text("Pinned: scheduled runs do not replace this split."))
    free_from = scheduled_from(active, days=days)
    if free_from is not None:
        console.print(
            Text(f"Scheduled runs may replace this split from {free_from:%Y-%m-%d %H:%M} UTC on; --pin keeps it.")
        )


def _shortly(value: Any) -> str:
    return "" if value is None else ", ".join(f"{name}: {_plainly(item)}" for name, item in dict(value).items())


def _plainly(item: Any) -> str:
    """A value of the audit: a split as its shares, a flag as yes or no."""
    if isinstance(item, dict):
        return ", ".join(f"{run_id} {percent} %" for run_id, percent in item.items()) or "none"
    if isinstance(item, bool):
        return "yes" if item else "no"
    return "none" if item is None else str(item)


def show_deployments(entity: EntityCode, limit: Limit = 10, as_json: AsJson = False) -> None:
    """Show an entity's traffic split and those before it, the newest first."""
    engine = connect()
    entities.require_entity(engine, entity)
    active, splits = (
        deployment_history.read_active(engine, entity),
        deployment_history.read_splits(engine, entity)[:limit],
    )
    if as_json:
        return print_json({"active": [row.model_dump() for row in active], "splits": [_record(s) for s in splits]})
    _print_active(entity, active, as_json=False)
    total = sum(row.traffic_pct for row in active)
    if active and total != WHOLE_PCT:
        console.print(Text(f"The percents sum to {total}, not to 100: deploy a whole split, or roll back."))
    print_table(
        "Splits, the newest first",
        ["from UTC", "to UTC", "split", "source", "by"],
        ([split.deployed_at, _end(split), _text(split), _source(split), split.deployed_by] for split in splits),
    )


def _print_active(entity: str, active: list[Deployment], *, as_json: bool) -> None:
    if as_json:
        return print_json([deployment.model_dump() for deployment in active])
    print_table(
        f"Live traffic of {entity}",
        ["run", "percent", "source", "by"],
        ([row.run_id, row.traffic_pct, _row_source(row), row.deployed_by] for row in active),
    )


def _record(split: Split) -> dict[str, Any]:
    return {
        "percents": dict(split.percents),
        "deployed_by": split.deployed_by,
        "deployed_at": split.deployed_at,
        "ended_at": split.ended_at,
        "is_active": split.is_active,
        "total_pct": split.total_pct,
        "source": split.source,
        "canary_run_id": split.canary_run_id,
        "control_run_id": split.control_run_id,
        "is_pinned": split.is_pinned,
        "comment": split.comment,
    }


def _source(split: Split) -> str:
    return f"{split.source}, pinned" if split.is_pinned else split.source


def _row_source(row: Deployment) -> str:
    return f"{row.source}, pinned" if row.is_pinned and row.source != "control" else row.source


def _end(split: Split) -> Any:
    return "live" if split.is_active else split.ended_at


def _text(split: Split) -> str:
    shares = ", ".join(f"{run_id} {percent} %" for run_id, percent in split.percents.items())
    return shares if split.total_pct == WHOLE_PCT else f"{shares} (sums to {split.total_pct})"
