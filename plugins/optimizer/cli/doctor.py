"""The command that checks what does not fit together."""

import sys
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.text import Text

from optimizer.cli.airflow import open_airflow
from optimizer.cli.control_plane import connect
from optimizer.cli.objects import open_store
from optimizer.cli.options import AsJson
from optimizer.lifecycle.doctor import examine
from optimizer.presentation.terminal import console, print_json, print_table

Objects = Annotated[
    bool, typer.Option("--objects", help="Also look for runs and snapshots in S3 that are unknown, as after a restore.")
]


def doctor(objects: Objects = False, as_json: AsJson = False) -> None:
    """Check the consistency of control plane, Airflow and object store; exit status 1 on findings."""
    engine = connect()
    with open_store() as store, open_airflow() as airflow:
        findings = examine(
            engine,
            store=store,
            dag_run_state=airflow.dag_run_state,
            list_dags=airflow.list_dags,
            pool_slots=airflow.pool_slots,
            now=datetime.now(UTC),
        )
        if objects:
            # It loads pandas, which takes longer than all other checks.
            from optimizer.lifecycle.object_checks import compare_objects

            findings += compare_objects(engine, store=store)
    if as_json:
        print_json([asdict(finding) for finding in findings])
    elif findings:
        rows = ([finding.subject, finding.problem, finding.todo] for finding in findings)
        title = "1 finding" if len(findings) == 1 else f"{len(findings)} findings"
        print_table(title, ["what", "problem", "what to do"], rows)
    else:
        console.print(Text("No findings: control plane, Airflow and object store are consistent."))
    if findings:
        sys.exit(1)
