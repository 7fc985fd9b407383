"""The command that shows one run."""

from typing import Any

from rich.text import Text
from sqlalchemy import Engine

from optimizer.cli.control_plane import connect
from optimizer.cli.options import AsJson, RunId
from optimizer.cli.run_columns import RUN_FACTS
from optimizer.cli.validation import print_validation, validation_document
from optimizer.control_plane import registry, runs
from optimizer.presentation.terminal import console, print_json, print_table


def show(run: RunId, as_json: AsJson = False) -> None:
    """Show one run: its numbers, features and metrics."""
    document = run_document(connect(), run)
    if as_json:
        return print_json(document)
    print_validation(document["validation"])
    name = f"Dry run {run}" if document["run"]["is_dry_run"] else f"Run {run}"
    print_table(name, ["fact", "value"], ((key, document["run"][key]) for key in RUN_FACTS))
    columns = ("feature_order", "feature_name", "is_anchor", "signal_score", "macro_id")
    print_table("Features", columns, ([feature[column] for column in columns] for feature in document["features"]))
    if document["macro_combination"]:
        console.print(Text.assemble("Key: ", document["macro_combination"]))
    facts = ("metric_section", "metric_key", "metric_value")
    print_table("Metrics", facts, ([metric[fact] for fact in facts] for metric in document["metrics"]))


def run_document(engine: Engine, run_id: str) -> dict[str, Any]:
    """Return all that the control plane knows of a run, and what its validation found."""
    row = runs.read_run(engine, run_id)
    macro, metrics = registry.read_macro(engine, run_id), registry.read_metrics(engine, run_id)
    return {
        "run": row.model_dump(),
        "validation": validation_document(row, metrics),
        "macro_combination": macro.macro_combination if macro else None,
        "features": [feature.model_dump() for feature in registry.read_features(engine, run_id)],
        "metrics": [metric.model_dump() for metric in metrics],
        "outputs": [output.model_dump() for output in registry.read_outputs(engine, run_id)],
    }
