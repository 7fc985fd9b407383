"""Commands for operators: cancel a run, confirm that entities were removed."""

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.text import Text

from optimizer.cli.control_plane import connect
from optimizer.cli.options import AsJson, By, Comment, RunId, author_of
from optimizer.control_plane import entity_removals as removals
from optimizer.control_plane import runs, transitions
from optimizer.presentation.terminal import console, print_json


def cancel(run: RunId, by: By = None, comment: Comment = "", as_json: AsJson = False) -> None:
    """Cancel a pending or running run; its tasks notice within half a minute and stop."""
    engine = connect()
    if not transitions.cancel_run(engine, run, author=author_of(by, comment), now=datetime.now(UTC)):
        raise transitions.wrong_state(runs.read_run(engine, run), needed="pending or running")
    row = runs.read_run(engine, run)
    if as_json:
        return print_json(row.model_dump(include={"run_id", "status", "error_message", "completed_at"}))
    console.print(Text(f"Run {run} is cancelled: {row.error_message}."))


def confirm_entities(
    count: Annotated[int, typer.Argument(min=0, help="How many rows opt_entities has, and should have.")],
    by: By = None,
    comment: Comment = "",
    as_json: AsJson = False,
) -> None:
    """Let the DAGs of removed entities go, after many were removed at once; the next parse believes this number."""
    removals.confirm_entities(connect(), count, author=author_of(by, comment), now=datetime.now(UTC))
    if as_json:
        return print_json({"entities": count})
    console.print(Text(f"Confirmed: opt_entities has {count:,} rows. The DAGs of the others go with the next parse."))
