"""Commands for operators: cancel a run, check consistency, confirm removals, migrate the control plane."""

import sys
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.text import Text

from optimizer.cli.airflow import open_dag_runs
from optimizer.cli.control_plane import connect
from optimizer.cli.deploy import By, Comment, author_of
from optimizer.cli.inspect import AsJson, RunId
from optimizer.cli.objects import open_store
from optimizer.control_plane import entity_removals as removals
from optimizer.control_plane import runs, transitions
from optimizer.control_plane.schema import migrate as migrate_schema
from optimizer.control_plane.version_rows import load_version
from optimizer.lifecycle.doctor import examine
from optimizer.presentation.terminal import console, print_json, print_table


def cancel(run: RunId, by: By = None, comment: Comment = "", as_json: AsJson = False) -> None:
    """Cancel a pending or running run; its tasks notice within half a minute and stop."""
    engine = connect()
    if not transitions.cancel_run(engine, run, author=author_of(by, comment), now=datetime.now(UTC)):
        raise transitions.wrong_state(runs.read_run(engine, run), needed="pending or running")
    row = runs.read_run(engine, run)
    if as_json:
        return print_json(row.model_dump(include={"run_id", "status", "error_message", "completed_at"}))
    console.print(Text(f"Run {run} is cancelled: {row.error_message}."))


def doctor(as_json: AsJson = False) -> None:
    """Check the consistency of control plane, Airflow and object store; exit status 1 on findings."""
    engine = connect()
    with open_store() as store, open_dag_runs() as dag_run_state:
        findings = examine(engine, store=store, dag_run_state=dag_run_state, now=datetime.now(UTC))
    if as_json:
        print_json([asdict(finding) for finding in findings])
    elif findings:
        rows = ([finding.subject, finding.problem, finding.todo] for finding in findings)
        print_table(f"{len(findings)} findings", ["what", "problem", "what to do"], rows)
    else:
        console.print(Text("No findings: control plane, Airflow and object store are consistent."))
    if findings:
        sys.exit(1)


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


def migrate() -> None:
    """Bring the control plane's tables to this code's revision, and load its version with every config key."""
    engine = connect()
    revision = migrate_schema(engine)
    console.print(f"the control plane is at revision {revision}, with version {load_version(engine)}")
