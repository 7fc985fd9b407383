"""The benchmark's tables: what was to be reached, what was, and what simpler methods reach."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rich.console import Console
from rich.table import Table

from optimizer.truth.goals import GOALS, Reached, TrialFigures

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
    """Print what was reached beside what was to be."""
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
    """Print the optimizer beside the methods that a team would otherwise use, in the steady market."""
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


def _bounds(low: float, high: float) -> str:
    if low == high:
        return f"{low:g}"
    return f"<= {high:g}" if low == 0 else f">= {low:g}" if high == 1 else f"{low:g} to {high:g}"
