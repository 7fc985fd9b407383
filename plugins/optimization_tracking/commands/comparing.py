"""Commands that say which is better: groups, trend."""

from typing import Annotated, Any

import typer

from optimization_tracking.commands import list_options
from optimization_tracking.models.comparing import MAX_GROUPS, MAX_TREND, LeftOut, MeasuredFigure, PairedTest
from optimization_tracking.models.values import Direction
from optimizer.presentation.formats import MISSING, measure
from optimizer.presentation.terminal import print_json, print_table

FigureName = Annotated[
    str, typer.Option("--figure", help="What to look at: final_score, duration_ms, evaluationResults.training.loss …")
]
Better = Annotated[
    Direction | None, typer.Option("--better", help="Which way the figure is better; default: as the runs say.")
]
_VERDICTS = {
    "cannot_be_judged": "cannot be judged",
    "as_expected": "as expected",
}


def groups(
    by: Annotated[
        str,
        typer.Argument(metavar="BY", help="tag, type, status, day, name, or a place as config.depth, metadata.entity."),
    ],
    name_pattern: Annotated[
        str | None, typer.Option("--name-pattern", help="For name: {} is the group, * is anything.")
    ] = None,
    pair_by: Annotated[
        str | None, typer.Option("--pair-by", help="What two compared runs share: day, name, config.seed …")
    ] = None,
    baseline: Annotated[
        str | None, typer.Option("--baseline", help="The group to compare with; default: the one with the oldest run.")
    ] = None,
    figure: FigureName = "final_score",
    better: Better = None,
    status: list_options.Statuses = None,
    optimizer_type: list_options.Types = None,
    tag: list_options.Tags = None,
    search: list_options.Search = None,
    config: list_options.Config = None,
    metadata: list_options.Metadata = None,
    limit: Annotated[int, typer.Option(min=1, max=MAX_GROUPS, help="How many groups.")] = 25,
    as_json: list_options.AsJson = False,
) -> None:
    """Group runs, and test which group is better: size, mean, 95 % interval, and a paired test."""
    chosen = list_options.filters(
        status=status, optimizer_type=optimizer_type, tags=tag, search=search, config=config, metadata=metadata
    )
    options = list_options.filters(name_pattern=name_pattern, pair_by=pair_by, baseline=baseline, better=better)
    with list_options.connect() as client:
        found = client.group_runs(by=by, figure=figure, limit=limit, **options, **chosen)
    if as_json:
        return print_json(found.model_dump(mode="json"))
    columns = ["group", "n", "mean", "95 % interval", "sd", "best"]
    if found.paired_by is not None:
        columns += ["difference", "its interval", "pairs", f"than {found.baseline}"]
    rows = []
    for group in found.groups:
        row = [group.key, group.n, *_numbers(group.mean), _interval(group.low, group.high)]
        row += _numbers(group.sd, group.best)
        rows.append(row + (_test(group.against_baseline) if found.paired_by is not None else []))
    print_table(f"{len(found.groups):,} of {found.total:,} groups by {by}: {_what(found.figure)}", columns, rows)
    _print_left_out(found.left_out)
    if found.paired_by is not None:
        typer.echo(f"Paired by {found.paired_by}, Student's t; the intervals of differences hold together at 95 %.")
    elif found.total > 1:
        typer.echo("Name what pairs the runs to compare the groups, as --pair-by day or --pair-by config.seed.")


def trend(
    figure: FigureName = "final_score",
    better: Better = None,
    status: list_options.Statuses = None,
    optimizer_type: list_options.Types = None,
    tag: list_options.Tags = None,
    search: list_options.Search = None,
    config: list_options.Config = None,
    metadata: list_options.Metadata = None,
    limit: Annotated[int, typer.Option(min=1, max=MAX_TREND, help="How many runs, the newest.")] = 30,
    as_json: list_options.AsJson = False,
) -> None:
    """Follow one figure from run to run, with the band that was expected of each."""
    chosen = list_options.filters(
        status=status, optimizer_type=optimizer_type, tags=tag, search=search, config=config, metadata=metadata
    )
    with list_options.connect() as client:
        found = client.read_trend(figure=figure, limit=limit, **list_options.filters(better=better), **chosen)
    if as_json:
        return print_json(found.model_dump(mode="json"))
    rows = [
        [
            f"{point.at:%Y-%m-%d %H:%M}",
            point.run_name,
            *_numbers(point.value),
            _interval(point.low, point.high),
            _VERDICTS.get(point.verdict, point.verdict),
        ]
        for point in found.points
    ]
    columns = ("at UTC", "run", "value", "expected", "judged")
    print_table(f"The newest {len(rows):,} runs: {_what(found.figure)}", columns, rows)
    _print_left_out(found.left_out)
    typer.echo(f"Expected of the next run: {_interval(found.next_low, found.next_high)}")


def _what(figure: MeasuredFigure) -> str:
    name = figure.metric or figure.name
    return f"{name}, {'lowest' if figure.direction == 'minimize' else 'highest'} is best"


def _numbers(*values: float | None) -> list[str]:
    return [measure(value) for value in values]


def _interval(low: float | None, high: float | None) -> str:
    return MISSING if low is None or high is None else f"{measure(low)} to {measure(high)}"


def _test(test: PairedTest | None) -> list[Any]:
    if test is None:
        return [MISSING, MISSING, None, "baseline"]
    verdict = _VERDICTS.get(test.verdict, test.verdict)
    return [*_numbers(test.mean_difference), _interval(test.low, test.high), test.pairs, verdict]


def _print_left_out(left_out: LeftOut) -> None:
    words = {
        "of another direction": left_out.other_direction,
        "of another metric": left_out.other_metric,
        "without the group's key": left_out.no_group,
        "without the figure": left_out.no_figure,
        "older than the newest": left_out.too_old,
    }
    if parts := [f"{number:,} {why}" for why, number in words.items() if number]:
        typer.echo(f"Left out: {', '.join(parts)}.")
