"""Commands that print runs: list, show, top, compare."""

import json
from itertools import islice
from typing import Annotated, Any, Literal

import typer

from optimization_tracking.client import TrackingClient
from optimization_tracking.commands import list_options
from optimization_tracking.models.iterations import Iteration
from optimization_tracking.models.runs import Run, RunWithIterations
from optimization_tracking.models.values import Direction
from optimizer.errors import ConfigError
from optimizer.presentation.terminal import format_value, print_json, print_table

COLUMNS = ("id", "name", "status", "steps", "best", "final", "better by", "created UTC")
SHOWN_ITERATIONS = 20
SHOWN_SAMPLES = 10
CLOSE_RUNS = 6
"""That many runs stand side by side, with the parameters of their best iteration; more stand below each other."""
WIDE_FACTS = ("status", "best score", "final score")
"""What is shown of many runs, beside their config."""

OrderBy = Literal["created_at", "final_score", "improvement", "duration_ms"]


def list_runs(
    status: list_options.Statuses = None,
    optimizer_type: list_options.Types = None,
    tag: list_options.Tags = None,
    search: list_options.Search = None,
    config: list_options.Config = None,
    metadata: list_options.Metadata = None,
    order_by: Annotated[OrderBy, typer.Option(help="What to sort by.")] = "created_at",
    ascending: Annotated[bool, typer.Option("--ascending", help="Sort in ascending order.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=100, help="How many runs.")] = 20,
    as_json: list_options.AsJson = False,
) -> None:
    """List runs, the newest first."""
    chosen = list_options.filters(
        status=status, optimizer_type=optimizer_type, tags=tag, search=search, config=config, metadata=metadata
    )
    order = {"order_by": order_by, "order_direction": "asc" if ascending else "desc"}
    with list_options.connect() as client:
        page = client.list_runs(limit=limit, **chosen, **order)
    if as_json:
        return print_json([run.model_dump(mode="json", exclude={"iteration_list"}) for run in page.data])
    print_table(f"{len(page.data):,} of {page.pagination.total:,} runs", COLUMNS, map(_row, page.data))


def top(
    optimizer_type: list_options.Types = None,
    tag: list_options.Tags = None,
    direction: Annotated[
        Direction | None, typer.Option(help="Whether high or low scores are good; default: as in the runs.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=100, help="How many runs.")] = 10,
    as_json: list_options.AsJson = False,
) -> None:
    """List the best completed runs, the best first."""
    with list_options.connect() as client:
        best = client.top_runs(
            limit=limit, **list_options.filters(direction=direction, optimizer_type=optimizer_type, tags=tag)
        )
    if as_json:
        return print_json([run.model_dump(mode="json", exclude={"iteration_list"}) for run in best])
    shown = direction or (best[0].direction if best else "maximize")
    print_table(f"Best by final score ({shown})", COLUMNS, map(_row, best))


def show(run: list_options.RunName, as_json: list_options.AsJson = False) -> None:
    """Show one run: its figures, config, and its first iterations."""
    with list_options.connect() as client:
        found = list_options.find_run(client, run, iterations=SHOWN_ITERATIONS)
    if as_json:
        return print_json(found.model_dump(mode="json"))
    print_table(found.run_name, ("", "value"), facts(found).items())
    rows = ([*_step(step), _pairs(step.params)] for step in found.iteration_list or [])
    print_table(
        f"Iterations, the first {SHOWN_ITERATIONS} of {found.iterations:,}",
        ("iteration", "score", "best", "samples", "took", "params"),
        rows,
    )


def compare(
    runs: Annotated[
        list[str] | None, typer.Argument(metavar="[RUN RUN…]", help="Ids or names; without them, runs by the filters.")
    ] = None,
    status: list_options.Statuses = None,
    optimizer_type: list_options.Types = None,
    tag: list_options.Tags = None,
    search: list_options.Search = None,
    config: list_options.Config = None,
    metadata: list_options.Metadata = None,
    limit: Annotated[int, typer.Option(min=2, max=1000, help="How many runs of the filters, the newest.")] = 200,
    samples: Annotated[bool, typer.Option("--samples", help="Also show which samples of two runs got worse.")] = False,
    as_json: list_options.AsJson = False,
) -> None:
    """Compare runs, also hundreds of them: what is different in their figures and config."""
    chosen = list_options.filters(
        status=status, optimizer_type=optimizer_type, tags=tag, search=search, config=config, metadata=metadata
    )
    if runs and chosen:
        raise ConfigError("name runs, or choose them by filters; not both")
    with list_options.connect() as client:
        if runs:
            found = [list_options.find_run(client, name) for name in runs]
        else:
            found = list(islice(client.iterate_runs(**chosen), limit))
        is_close = len(found) <= CLOSE_RUNS
        best = [_best(client, run) if is_close else None for run in found]
        worse = _worse(client, found, best) if samples and len(found) == 2 else []
    columns = [
        facts(run) | _flat("config", run.config) | _flat("best params", step.params if step else {})
        for run, step in zip(found, best, strict=True)
    ]
    names = list(dict.fromkeys(name for column in columns for name in column))
    different = {name: [column.get(name) for column in columns] for name in names}
    different = {name: row for name, row in different.items() if len({repr(value) for value in row}) > 1}
    if as_json:
        ids = [str(run.id) for run in found]
        return print_json({"runs": ids, "different": different, "worseSamples": worse})
    if is_close:
        print_table(
            "What is different", ("", *(run.run_name for run in found)), ([n, *v] for n, v in different.items())
        )
    else:
        shown = [name for name in different if name in WIDE_FACTS or name.startswith("config.")]
        rows = ([run.run_name, *(different[name][place] for name in shown)] for place, run in enumerate(found))
        print_table(f"What is different in {len(found):,} runs", ("run", *shown), rows)
    if samples:
        lines = (row.values() for row in worse[:SHOWN_SAMPLES])
        print_table(f"Samples got worse: {len(worse):,}", ("sample", "before", "after", "input"), map(list, lines))


def facts(run: Run) -> dict[str, Any]:
    """Return the fields of a run that the table shows, by label."""
    return {
        "id": str(run.id),
        "project": run.project_id,
        "type": run.optimizer_type,
        "status": run.status,
        "error": run.error_message,
        "metric": run.metric,
        "direction": run.direction,
        "initial score": run.initial_score,
        "best score": run.best_score,
        "final score": run.final_score,
        "improvement": run.improvement,
        "better by": _percent(run.improvement_pct),
        "iterations": run.iterations,
        "samples": run.samples_evaluated,
        "started UTC": run.start_time,
        "took": duration(run.duration_ms),
        "cost (USD)": run.total_cost_usd or None,
        "tokens": run.total_tokens or None,
        "tags": ", ".join(run.tags) or None,
    }


def duration(milliseconds: float | None) -> str | None:
    """Return a time span in words, as 1 h 02 min."""
    if milliseconds is None:
        return None
    seconds = milliseconds / 1000
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {seconds:02} s"


def _row(run: RunWithIterations) -> list[Any]:
    scores = (run.best_score, run.final_score, _percent(run.improvement_pct))
    return [str(run.id), run.run_name, run.status, run.iterations, *scores, f"{run.created_at:%m-%d %H:%M}"]


def _step(step: Iteration) -> list[Any]:
    mark = "best" if step.is_best else None
    return [step.iteration, step.score, mark, step.samples_in_iteration, duration(step.duration_ms)]


def _percent(value: float | None) -> str | None:
    return None if value is None else f"{value:+.1f}%"


def _pairs(values: dict[str, Any]) -> str:
    return ", ".join(f"{name}={format_value(value)}" for name, value in values.items())


def _flat(prefix: str, values: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        # A name that holds a dot itself is quoted: {"a.b": 1} is not {"a": {"b": 1}}.
        label = f"{prefix}.{json.dumps(name, ensure_ascii=False) if '.' in name or chr(34) in name else name}"
        flat |= _flat(label, value) if isinstance(value, dict) else {label: value}
    return flat


def _best(client: TrackingClient, run: Run) -> Iteration | None:
    return None if run.best_iteration is None else client.read_iteration(run.id, run.best_iteration)


def _worse(
    client: TrackingClient, found: list[RunWithIterations], best: list[Iteration | None]
) -> list[dict[str, Any]]:
    """Return the samples of the runs' best iterations, by index, whose score got worse in the second."""
    scores: list[dict[int, Any]] = []
    for run, step in zip(found, best, strict=True):
        rows = [] if step is None else client.iterate_samples(run.id, iteration=step.iteration)
        scores.append({row.sample_index: row for row in rows if row.score is not None})
    sign = -1 if found[1].direction == "minimize" else 1
    before, after = scores
    fallen = [index for index in before if index in after and sign * (after[index].score - before[index].score) < 0]
    fallen.sort(key=lambda index: sign * (after[index].score - before[index].score))
    return [
        {"sample": index, "before": before[index].score, "after": after[index].score, "input": after[index].input}
        for index in fallen
    ]
