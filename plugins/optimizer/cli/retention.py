"""The command that removes old objects of runs."""

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.text import Text

from optimizer.cli.control_plane import connect
from optimizer.cli.objects import open_store
from optimizer.cli.options import AsJson, By, author_of
from optimizer.lifecycle.retention import RetentionPolicy, plan_removals, removal_document, remove
from optimizer.presentation.terminal import console, print_json, print_table

DEFAULT = RetentionPolicy()

MOST_DAYS = 36_500
"""A hundred years: later dates cannot be computed with."""

Days = Annotated[int, typer.Option(min=1, max=MOST_DAYS, help="Keep outputs of completed runs for this many days.")]
ScratchDays = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=MOST_DAYS,
        help=f"Keep staged files, dry runs and failed runs this many days; default: {DEFAULT.scratch_days}, or --days "
        "where that is less.",
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be removed, and remove nothing.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask before removing.")]


def retention(
    days: Days = DEFAULT.output_days,
    scratch_days: ScratchDays = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Remove old objects of runs: show them, ask, remove. Runs that are live or were lately keep theirs."""
    engine, now, author = connect(), datetime.now(UTC), author_of(by, "")
    policy = RetentionPolicy(output_days=days, scratch_days=scratch_days or min(DEFAULT.scratch_days, days))
    with open_store() as store:
        planned = plan_removals(engine, store=store, policy=policy, now=now)
        documents = [removal_document(removal) for removal in planned]
        if not as_json:
            columns = ["entity", "run", "status", "ended UTC", "what", "objects", "prefix"]
            names = ("entity_code", "run_id", "status", "ended_at", "what", "objects", "uri")
            shown = [{**row, "ended_at": f"{row['ended_at']:%Y-%m-%d}"} for row in documents]
            print_table("Objects past their retention", columns, ([row[name] for name in names] for row in shown))
        if dry_run or not planned:
            return print_json(documents) if as_json else None
        if not yes:
            typer.confirm(f"Remove the objects of {len(planned)} prefixes?", abort=True, err=True)
        done = remove(planned, engine=engine, store=store, policy=policy, author=author, now=now)
    if as_json:
        return print_json([removal_document(removal) for removal in done])
    console.print(Text(f"Removed {sum(len(removal.keys) for removal in done):,} objects."))
