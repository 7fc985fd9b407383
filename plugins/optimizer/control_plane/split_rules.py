"""Which splits an entity may serve: percents that sum to 100, over its own completed runs with all their files."""

from collections.abc import Callable, Iterable, Mapping

from sqlalchemy import Connection, RowMapping, select

from optimizer.control_plane.records import Run, read_rows
from optimizer.control_plane.tables import runs
from optimizer.errors import DeploymentError


def check_split(
    connection: Connection,
    entity: RowMapping,
    *,
    split: Mapping[str, int],
    refusal: str = "the split cannot be deployed",
) -> None:
    """Pass where the entity may serve the split.

    Args:
        refusal: what the error begins with after the entity.

    Raises:
        DeploymentError: names all problems together.
    """
    if problems := split_problems(connection, entity, split=split):
        raise DeploymentError(f"entity {entity['entity_code']}: {refusal}: " + "; ".join(problems))


def split_problems(
    connection: Connection,
    entity: RowMapping,
    *,
    split: Mapping[str, int],
    problem_of: Callable[[Run], str | None] = lambda run: None,
) -> list[str]:
    """Return why the entity may not serve the split, one text per problem; empty where it may.

    Args:
        problem_of: returns why a run cannot be served beyond what the control plane knows, or None.
    """
    rows = connection.execute(select(runs).where(runs.c.run_id.in_(list(split)))).mappings()
    found = {run.run_id: run for run in read_rows(Run, rows)}
    problems = [*_percent_problems(split)]
    for run_id in split:
        problems += _run_problems(run_id, found.get(run_id), entity)
    if not problems:
        problems = [problem for run_id in split if (problem := problem_of(found[run_id]))]
    return problems


def _percent_problems(split: Mapping[str, int]) -> Iterable[str]:
    wrong = [run_id for run_id, percent in split.items() if type(percent) is not int or percent <= 0]
    for run_id in wrong:
        yield f"run {run_id} has {split[run_id]!r} percent; give it a whole number above 0, or leave it out"
    if not split:
        yield "it names no run; give at least one run and its percent"
    elif not wrong and sum(split.values()) != 100:
        yield f"the percents sum to {sum(split.values())}; make them sum to 100"


def _run_problems(run_id: str, run: Run | None, entity: RowMapping) -> list[str]:
    listed = f"`optimizer runs {entity['entity_code']}` lists them"
    if run is None:
        return [f"run {run_id or repr(run_id)} is not in opt_runs; choose one of the entity's runs, {listed}"]
    if run.entity_id != entity["entity_id"]:
        return [f"run {run_id} is a run of another entity; choose one of this entity's runs, {listed}"]
    if run.status != "completed":
        kind = " and a dry run, which can never be deployed" if run.is_dry_run else ""
        return [f"run {run_id} is {run.status}{kind}; choose a completed run, {listed}"]
    if run.validation_status != "passed":
        status = f"validation_status {run.validation_status}"
        return [f"run {run_id} has {status}; choose a run whose validation passed, {listed}"]
    if run.outputs_removed_at is not None:
        removed = f"{run.outputs_removed_at:%Y-%m-%d}"
        return [f"the files of run {run_id} were removed on {removed} (`optimizer retention`); start a new run"]
    return []
