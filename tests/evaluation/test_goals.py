import io

import numpy as np
import pytest
from rich.console import Console

from lab.evaluation.goals import GOALS, TrialFigures
from lab.evaluation.table import lines_of, print_goals, print_methods

BY_FIGURE = {goal.figure: goal for goal in GOALS}


def trials(**figures) -> list[TrialFigures]:
    """One trial a value of the named figure."""
    (name, values), *_ = figures.items()
    return [TrialFigures("steady", "optimizer", seed, **{name: value}) for seed, value in enumerate(values)]


@pytest.mark.parametrize(
    ("figure", "values", "is_met"),
    [
        ("gap", [-0.04, 0.01, 0.02], True),
        ("gap", [-0.04, 0.04, 0.04], False),
        ("bid_over_ideal", [0.90, 1.0], True),
        ("bid_over_ideal", [1.2, 1.1], False),
        ("slope_covered", [1.0] * 9 + [0.0], True),
        ("slope_covered", [1.0, 0.0], False),
        ("is_refused", [1.0, 1.0], True),
        ("is_refused", [1.0, 0.0], False),
        ("bid_change", [0.02, 0.01], False),
    ],
)
def test_a_goal_is_met_within_its_bounds_over_all_seeds(figure, values, is_met):
    reached = BY_FIGURE[figure].reach(trials(**{figure: values}))
    assert reached.is_met is is_met and reached.seeds == len(values)
    assert (reached.missed_by == 0) is is_met


def test_a_trial_that_came_out_without_the_figure_misses_the_line():
    reached = BY_FIGURE["bid_change"].reach(trials(bid_change=[0.001, np.nan]))
    assert not reached.is_met and reached.missed_by == np.inf and reached.seeds == 2


def test_a_gap_counts_whether_above_or_below():
    assert BY_FIGURE["gap"].reach(trials(gap=[-0.02, 0.02])).figure == pytest.approx(0.02)


def test_a_figure_that_a_scenario_does_not_have_makes_no_line():
    found = lines_of(trials(gap=[0.01, 0.02]))
    assert [line.reached.goal.figure for line in found] == ["gap"]


def test_the_table_says_what_was_missed_and_by_how_much():
    found = [*trials(gap=[0.05]), TrialFigures("dirt: zero bids", "optimizer", 1, bid_change=0.002)]
    console = Console(file=(text := io.StringIO()), width=140)
    print_goals(lines_of(found), console=console)
    printed = text.getvalue()
    assert "missed by 0.020" in printed and "dirt: zero bids" in printed and "0.002" in printed


def test_methods_stand_side_by_side():
    figures = {"achieved": 0.31, "gap": 0.01, "segment_error": 0.02, "landscape_error": 0.02, "bid_over_ideal": 1.0}
    rows = [TrialFigures("steady", method, 1, **figures, cpm=15, ideal_cpm=14) for method in ("optimizer", "logit")]
    console = Console(file=(text := io.StringIO()), width=140)
    print_methods(rows, console=console)
    assert "optimizer" in text.getvalue() and "logit" in text.getvalue() and "0.310" in text.getvalue()
