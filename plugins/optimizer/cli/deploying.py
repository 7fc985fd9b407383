"""The command that splits an entity's traffic between its runs."""

import getpass
from datetime import UTC, datetime
from typing import Annotated

import typer

from optimizer.cli.control_plane import connect
from optimizer.cli.looking import AsJson, EntityCode
from optimizer.cli.rendering import print_json, print_table
from optimizer.control_plane import deployments
from optimizer.errors import DeploymentError

Split = Annotated[list[str], typer.Argument(metavar="RUN=PERCENT...", help="Runs and their shares, 100 together.")]
By = Annotated[str | None, typer.Option(help="Who deploys; by default the account that is logged in.")]


def deploy(entity: EntityCode, split: Split, by: By = None, as_json: AsJson = False) -> None:
    """Split an entity's traffic between validated runs, by hand."""
    active = deployments.deploy(
        connect(),
        entity_code=entity,
        split=parse_split(split),
        deployed_by=by or getpass.getuser(),
        now=datetime.now(UTC),
    )
    if as_json:
        return print_json([deployment.model_dump() for deployment in active])
    print_table(
        f"Live traffic of {entity}",
        ["run", "percent", "by"],
        ([deployment.run_id, deployment.traffic_pct, deployment.deployed_by] for deployment in active),
    )


def parse_split(items: list[str]) -> dict[str, int]:
    """Return {run_id: percent} of RUN=PERCENT texts.

    Raises:
        DeploymentError: a text is none, or a run stands twice.
    """
    split: dict[str, int] = {}
    for item in items:
        run_id, _, percent = item.partition("=")
        if not run_id or not percent.isdigit() or run_id in split:
            raise DeploymentError(
                f"{item!r} is no new RUN=PERCENT; write for example 20260203_150000=80 20260201_120000=20"
            )
        split[run_id] = int(percent)
    return split
