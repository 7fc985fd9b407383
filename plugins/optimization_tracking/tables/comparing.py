"""Groups of runs, and the trend of one figure: the sums are Postgres's, the intervals are of `intervals`."""

import json
from dataclasses import dataclass
from typing import Any

from optimization_tracking.database import Connection, Row, fetch_all
from optimization_tracking.intervals import LEVEL, difference_p_value, expected_interval, mean_interval
from optimization_tracking.models.comparing import (
    BAND_RUNS,
    FIGURES,
    MIN_BAND_RUNS,
    MIN_PAIRS,
    MIN_RUNS,
    FigureConditions,
    GroupFilters,
    LeftOut,
    MeasuredFigure,
    PairedTest,
    RunGroup,
    RunGroups,
    Trend,
    TrendFilters,
    TrendPoint,
)
from optimization_tracking.models.runs import TRANSITIONS
from optimization_tracking.models.values import Direction
from optimization_tracking.paths import JsonPath, name_pattern, parse_path
from optimization_tracking.queries import render_query
from optimization_tracking.tables.run_lists import conditions_of

MAX_KEY_LENGTH = 300
"""Characters of a key; a longer one is cut there by the statement."""
RUN_CAP = 100_000
"""The newest runs that groups are made of; older ones are counted as left out."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """A figure of some runs: the statement's conditions, values and words, and what the runs have in common."""

    conditions: frozenset[str]
    values: dict[str, Any]
    words: dict[str, str]
    figure: MeasuredFigure
    other_direction: int
    other_metric: int
    runs: int


async def group_runs(connection: Connection, filters: GroupFilters, *, project_id: str) -> RunGroups:
    """Return the project's runs in groups, the best mean first.

    Runs of the direction and metric that most of them have; the others are counted as left out.
    """
    asked = await _ask(connection, filters, project_id=project_id)
    group, pair = _word(filters.by, "group"), _word(filters.pair_by, "pair")
    values = asked.values | group.values | pair.values
    values |= {"baseline": filters.baseline, "row_limit": filters.limit, "run_cap": RUN_CAP, "min_pairs": MIN_PAIRS}
    values |= {"name_pattern": name_pattern(filters.name_pattern) if filters.name_pattern else None}
    words = asked.words | group.words | pair.words | {"capped": "yes" if asked.runs > RUN_CAP else "no"}
    rows = await fetch_all(connection, render_query("group_runs", asked=asked.conditions, **words), values)
    first = rows[0] if rows else {}
    all_runs = min(asked.runs, RUN_CAP)
    return RunGroups(
        by=filters.by,
        figure=asked.figure,
        paired_by=filters.pair_by,
        baseline=first.get("baseline"),
        total=first.get("groups", 0),
        runs=all_runs,
        left_out=LeftOut(
            other_direction=asked.other_direction,
            other_metric=asked.other_metric,
            no_group=first.get("keyless", all_runs),
            no_figure=first.get("valueless", 0),
            too_old=asked.runs - all_runs,
        ),
        groups=[_group(row, is_paired=filters.pair_by is not None, direction=asked.figure.direction) for row in rows],
    )


async def read_trend(connection: Connection, filters: TrendFilters, *, project_id: str) -> Trend:
    """Return a figure of the newest runs that match, the oldest of them first, each with what was expected of it."""
    asked = await _ask(connection, filters, project_id=project_id)
    values = asked.values | {"row_limit": filters.limit, "band_runs": BAND_RUNS}
    rows = await fetch_all(connection, render_query("run_trend", asked=asked.conditions, **asked.words), values)
    rows.reverse()
    last = rows[-1] if rows else {"next_n": 0}
    band = _band(last["next_n"], last.get("next_mean"), last.get("next_sd"))
    return Trend(
        figure=asked.figure,
        points=[_point(row, direction=asked.figure.direction) for row in rows],
        next_low=band[0],
        next_high=band[1],
        left_out=LeftOut(
            other_direction=asked.other_direction,
            other_metric=asked.other_metric,
            no_group=0,
            no_figure=max(0, min(asked.runs, filters.limit) - len(rows)),
            too_old=max(0, asked.runs - filters.limit),
        ),
    )


async def _ask(connection: Connection, filters: FigureConditions, *, project_id: str) -> _Asked:
    conditions, values = await conditions_of(connection, filters, project_id=project_id)
    counted = await fetch_all(connection, render_query("count_metrics", asked=frozenset(conditions)), values)
    most: Row = counted[0] if counted else {"direction": filters.direction or "maximize", "metric": filters.metric}
    same = [row for row in counted if row["direction"] == most["direction"]]
    runs = sum(row["runs"] for row in same if row["metric"] == most["metric"])
    is_score = FIGURES.get(filters.figure, "maximize") is None
    figure, words = _figure(filters.figure)
    direction: Direction = filters.better or FIGURES.get(filters.figure) or most["direction"]
    return _Asked(
        conditions=frozenset(conditions),
        values=values | figure | {"direction_is": most["direction"], "metric_is": most["metric"]},
        words=words
        | {
            "completed": "no" if filters.status else "yes",
            "metric": "none" if most["metric"] is None else "one",
            "way": "ASC" if direction == "minimize" else "DESC",
        },
        figure=MeasuredFigure(name=filters.figure, direction=direction, metric=most["metric"] if is_score else None),
        other_direction=sum(row["runs"] for row in counted) - sum(row["runs"] for row in same),
        other_metric=sum(row["runs"] for row in same) - runs,
        runs=runs,
    )


@dataclass(frozen=True, slots=True)
class _Word:
    words: dict[str, str]
    values: dict[str, Any]


def _word(text: str | None, role: str) -> _Word:
    """Return what the statement calls a group's or a pair's key, and the path that it reads."""
    path = parse_path(text) if text is not None and "." in text else None
    if path is None:
        return _Word({role: text or "none", f"{role}_column": ""}, {f"{role}_path": None})
    return _Word({role: "json", f"{role}_column": path.column}, {f"{role}_path": list(path.steps)})


def _figure(name: str) -> tuple[dict[str, Any], dict[str, str]]:
    if name in FIGURES:
        return {"figure_path": None}, {"figure": name, "figure_column": ""}
    path: JsonPath = parse_path(name)
    return {"figure_path": list(path.steps)}, {"figure": "json", "figure_column": path.column}


def _group(row: Row, *, is_paired: bool, direction: Direction) -> RunGroup:
    is_baseline = row["key"] == row["baseline"]
    bounds = mean_interval(row["n"], row["mean"], row["sd"]) if row["n"] >= MIN_RUNS else (None, None)
    ends = (row["lowest"], row["highest"])
    best, worst = ends if direction == "minimize" else ends[::-1]
    test = _test(row, direction=direction) if is_paired and not is_baseline else None
    return RunGroup(
        **{name: row[name] for name in ("key", "runs", "n", "mean", "sd", "first_run_at", "last_run_at")},
        value=_value(row),
        states={state: row[state] for state in TRANSITIONS if row[state]},
        low=bounds[0],
        high=bounds[1],
        best=best,
        worst=worst,
        is_baseline=is_baseline,
        against_baseline=test,
    )


def _value(row: Row) -> Any:
    """Return the group's key as JSON; None of one that is so long that it may be cut."""
    if "is_text" not in row:
        return row["key"]
    if len(row["key"]) >= MAX_KEY_LENGTH:
        return None
    return row["key"] if row["is_text"] else json.loads(row["key"])


def _test(row: Row, *, direction: Direction) -> PairedTest:
    pairs, mean, sd = row["pairs"] or 0, row["mean_difference"], row["sd_difference"]
    if pairs < MIN_PAIRS:
        counted = f"{pairs} pair{'' if pairs == 1 else 's'}"
        return PairedTest(
            pairs=pairs,
            mean_difference=mean,
            low=None,
            high=None,
            p_value=None,
            verdict="cannot_be_judged",
            reason=f"{counted} with the baseline; at least {MIN_PAIRS} are needed",
        )
    low, high = mean_interval(pairs, mean, sd, comparisons=row["judged"])
    p_value = difference_p_value(pairs, mean, sd, comparisons=row["judged"])
    is_clear = p_value < 1 - LEVEL
    is_better = (mean < 0) == (direction == "minimize")
    return PairedTest(
        pairs=pairs,
        mean_difference=mean,
        low=low,
        high=high,
        p_value=p_value,
        verdict="inconclusive" if not is_clear else "better" if is_better else "worse",
        reason=f"the interval of the difference {'excludes' if is_clear else 'includes'} 0",
    )


def _point(row: Row, *, direction: Direction) -> TrendPoint:
    low, high = _band(row["n"], row["mean"], row["sd"])
    value = row["value"]
    verdict = "cannot_be_judged"
    if low is not None and high is not None:
        is_inside = low <= value <= high
        is_better = (value < low) == (direction == "minimize")
        verdict = "as_expected" if is_inside else "better" if is_better else "worse"
    names = ("run_id", "run_name", "status", "at", "value")
    return TrendPoint.model_validate(
        {name: row[name] for name in names} | {"low": low, "high": high, "verdict": verdict}
    )


def _band(n: int, mean: float | None, sd: float | None) -> tuple[float | None, float | None]:
    if n < MIN_BAND_RUNS or mean is None or sd is None:
        return None, None
    return expected_interval(n, mean, sd)
