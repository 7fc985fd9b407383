"""The benchmark's tables: what was to be reached, what was, and what simpler methods reach."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rich.console import Console
from rich.table import Table

from lab.evaluation.goals import GOALS, Reached, TrialFigures
from lab.evaluation.second_figures import SecondFigures

OPTIMIZER = "optimizer"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table: a goal in a scenario."""

    scenario: str
    reached: Reached


def lines_of(trials: Sequence[TrialFigures]) -> list[Line]:
    """Return what the optimizer reached, scenario by scenario in their first order, of every goal that applies."""
    own = [trial for trial in trials if trial.method == OPTIMIZER]
    scenarios = list(dict.fromkeys(trial.scenario for trial in own))
    return [
        Line(scenario, reached)
        for scenario in scenarios
        for goal in GOALS
        if (reached := goal.reach([trial for trial in own if trial.scenario == scenario])) is not None
    ]


def print_goals(lines: Sequence[Line], *, console: Console) -> None:
    """Print the results next to the goals."""
    table = Table("scenario", "figure", "to reach", "reached", "seeds", "", title="Against known truth")
    scenario = None
    for line in lines:
        goal, reached = line.reached.goal, line.reached
        if scenario not in (None, line.scenario):
            table.add_section()
        verdict = "met" if reached.is_met else f"[red]missed by {reached.missed_by:.3f}[/red]"
        name = "" if line.scenario == scenario else line.scenario
        table.add_row(
            name, goal.text, _bounds(goal.low, goal.high), f"{reached.figure:.3f}", str(reached.seeds), verdict
        )
        scenario = line.scenario
    console.print(table)


def print_methods(trials: Sequence[TrialFigures], *, console: Console) -> None:
    """Print the optimizer next to the methods that a team would otherwise use, in the steady market."""
    columns = ("achieved", "|gap|", "segment error", "landscape error", "bid over ideal", "CPM", "ideal CPM")
    table = Table("method", *columns, title="Target .30 in the steady market; means over the seeds")
    steady = [trial for trial in trials if trial.scenario == "steady"]
    for method in dict.fromkeys(trial.method for trial in steady):
        rows = [trial for trial in steady if trial.method == method]
        means = [np.mean([trial.achieved for trial in rows]), np.mean([abs(trial.gap) for trial in rows])]
        names = ("segment_error", "landscape_error", "bid_over_ideal", "cpm", "ideal_cpm")
        means += [np.mean([getattr(trial, name) for trial in rows]) for name in names]
        digits = (3, 3, 3, 3, 2, 2, 2)
        table.add_row(method, *(f"{mean:.{places}f}" for mean, places in zip(means, digits, strict=True)))
    console.print(table)


def print_second(trials: Sequence[TrialFigures], *, console: Console) -> None:
    """Print what the optimizer reached in each world of the second family, and whether it said what is right there."""
    columns = (
        "won",
        "forecast",
        "days 3-7",
        "CPM / flat",
        "days 3-7",
        "CPM / ideal",
        "bid / ideal",
        "the run",
        "right",
    )
    table = Table(title="The second family: one run, and daily runs fed back; means over the seeds")
    table.add_column("world", no_wrap=True)
    for column in (*columns, "live"):
        table.add_column(column)
    shown = [trial for trial in trials if trial.second is not None]
    for scenario in dict.fromkeys(trial.scenario for trial in shown):
        rows = [trial.second for trial in shown if trial.scenario == scenario and trial.second is not None]
        names = ("win_rate", "forecast", "loop_win_rate", "cpm_over_flat", "loop_cpm_over_flat", "cpm_over_ideal")
        means = [float(np.mean([getattr(row, name) for row in rows])) for name in (*names, "bid_over_ideal")]
        said = ", ".join(f"{count} {word}" for word, count in Counter(row.said for row in rows).most_common())
        right, live = (f"{sum(flags)}/{len(rows)}" for flags in _flags(rows))
        table.add_row(scenario.removeprefix("second: "), *(f"{mean:.3f}" for mean in means), said, right, live)
    if shown:
        console.print(table)


def _flags(rows: Sequence[SecondFigures]) -> tuple[list[bool], list[bool]]:
    return [row.is_right for row in rows], [row.is_promoted for row in rows]


def _bounds(low: float, high: float) -> str:
    if low == high:
        return f"{low:g}"
    return f"<= {high:g}" if low == 0 else f">= {low:g}" if high == 1 else f"{low:g} to {high:g}"
