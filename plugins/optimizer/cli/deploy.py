"""The commands that split an entity's traffic between its runs, take a split back, and show what was live when."""

import getpass
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any

import typer
from rich.text import Text

from optimizer.cli.control_plane import connect
from optimizer.cli.inspect import AsJson, EntityCode
from optimizer.cli.objects import open_store
from optimizer.control_plane import deployments, entities
from optimizer.control_plane.records import Deployment
from optimizer.control_plane.splits import WHOLE_PCT, Split, parse_split
from optimizer.deployment.served_files import file_problem, require_files
from optimizer.presentation.terminal import console, print_json, print_table

Shares = Annotated[list[str], typer.Argument(metavar="RUN=PERCENT...", help="Runs and their shares, 100 together.")]
By = Annotated[str | None, typer.Option(help="The name to record; default: the account that is logged in.")]
Limit = Annotated[int, typer.Option(min=1, max=1000, help="How many splits.")]


Unchecked = Annotated[
    bool, typer.Option("--unchecked", help="Do not look whether the runs' files can be served; needs no S3.")
]


def deploy(
    entity: EntityCode, split: Shares, by: By = None, unchecked: Unchecked = False, as_json: AsJson = False
) -> None:
    """Split an entity's traffic between validated runs, by hand."""
    engine, chosen = connect(), parse_split(split)
    if not unchecked:
        with open_store() as store:
            require_files(chosen, entity_code=entity, engine=engine, store=store)
    active = deployments.deploy(
        engine,
        entity_code=entity,
        split=chosen,
        deployed_by=by or getpass.getuser(),
        now=datetime.now(UTC),
    )
    _print_active(entity, active, as_json=as_json)


def rollback(entity: EntityCode, by: By = None, unchecked: Unchecked = False, as_json: AsJson = False) -> None:
    """Go back to the split before the present one; once more goes back further."""
    engine = connect()
    if unchecked:
        plan = deployments.plan_rollback(engine, entity)
    else:
        with open_store() as store:
            plan = deployments.plan_rollback(engine, entity, problem_of=partial(file_problem, store=store))
    active = deployments.deploy(
        engine,
        entity_code=entity,
        split=plan.split,
        deployed_by=by or getpass.getuser(),
        now=datetime.now(UTC),
        seen=plan.seen,
    )
    _print_active(entity, active, as_json=as_json)
    if not as_json:
        for reason in plan.skipped:
            console.print(Text(f"Note: {reason}."))


def show_deployments(entity: EntityCode, limit: Limit = 10, as_json: AsJson = False) -> None:
    """Show an entity's traffic split and those before it, the newest first."""
    engine = connect()
    entities.require_entity(engine, entity)
    active, splits = deployments.read_active(engine, entity), deployments.read_splits(engine, entity)[:limit]
    if as_json:
        return print_json({"active": [row.model_dump() for row in active], "splits": [_record(s) for s in splits]})
    _print_active(entity, active, as_json=False)
    total = sum(row.traffic_pct for row in active)
    if active and total != WHOLE_PCT:
        console.print(Text(f"The percents sum to {total}, not to 100: deploy a whole split, or roll back."))
    print_table(
        "Splits, the newest first",
        ["from UTC", "to UTC", "split", "by"],
        ([split.deployed_at, _end(split), _text(split), split.deployed_by] for split in splits),
    )


def _print_active(entity: str, active: list[Deployment], *, as_json: bool) -> None:
    if as_json:
        return print_json([deployment.model_dump() for deployment in active])
    print_table(
        f"Live traffic of {entity}",
        ["run", "percent", "by"],
        ([deployment.run_id, deployment.traffic_pct, deployment.deployed_by] for deployment in active),
    )


def _record(split: Split) -> dict[str, Any]:
    return {
        "percents": dict(split.percents),
        "deployed_by": split.deployed_by,
        "deployed_at": split.deployed_at,
        "ended_at": split.ended_at,
        "is_active": split.is_active,
        "total_pct": split.total_pct,
        "canary_run_id": split.canary_run_id,
    }


def _end(split: Split) -> Any:
    return "live" if split.is_active else split.ended_at


def _text(split: Split) -> str:
    shares = ", ".join(f"{run_id} {percent} %" for run_id, percent in split.percents.items())
    return shares if split.total_pct == WHOLE_PCT else f"{shares} (sums to {split.total_pct})"
