"""The second family's lines of the table."""

import io
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from lab.evaluation.__main__ import app
from lab.evaluation.goals import TrialFigures
from lab.evaluation.saved import SavedTrials
from lab.evaluation.table import lines_of, print_second
from lab.evaluation.trials import Job

JOB = Job("no_jitter", 1, 60_000, "second", loop_days=0)


@pytest.fixture(scope="module")
def held() -> TrialFigures:
    _, figures = JOB.run()
    return figures


@pytest.fixture(scope="module")
def base() -> TrialFigures:
    _, figures = Job("base", 1, 60_000, "second", loop_days=1).run()
    return figures


def lines(*trials: TrialFigures) -> set[str]:
    return {line.reached.goal.figure for line in lines_of(trials)}


def test_a_world_in_which_the_target_can_be_reached_is_judged_by_it(base):
    assert base.scenario == "second: base" and base.second.said == "bids"
    expected = {"gap", "said_right", "cpm_over_flat", "cpm_over_ideal", "overbid_promoted"}
    assert expected | {"largest_move", "loop_gap", "loop_cpm_over_flat", "loop_largest_move"} <= lines(base)
    assert not {"forecast_gap", "margin_broken"} & lines(base)


def test_a_world_without_an_identified_slope_is_judged_by_the_report(held):
    assert "said_right" in lines(held)
    assert not {"gap", "cpm_over_flat", "cpm_over_ideal", "loop_gap"} & lines(held)


def test_false_features_are_judged_over_all_worlds_together():
    for name in ("base", "no_jitter"):
        together, own = Job(name, 1, 30_000, "second", loop_days=0).run()
        assert together.scenario == "second: all worlds" and lines(together) == {"false_feature"}
        assert "false_feature" not in lines(own)


def test_a_figure_that_some_seeds_lack_is_the_mean_of_the_others(base):
    kept = replace(base, seed=2, cpm_over_flat=np.nan)
    (line,) = (line for line in lines_of([base, kept]) if line.reached.goal.figure == "cpm_over_flat")
    assert line.reached.figure == pytest.approx(base.cpm_over_flat)


def test_the_table_shows_what_was_reached_and_what_was_said(base, held):
    console = Console(file=(text := io.StringIO()), width=140)
    print_second([base, held, TrialFigures("steady", "optimizer", 1)], console=console)
    printed = text.getvalue()
    assert all(text in printed for text in (f"{base.achieved:.3f}", "no_jitter", "1 bids")) and "steady" not in printed


def test_saved_figures_of_the_second_family_come_back_whole(held, tmp_path):
    saved = SavedTrials(tmp_path / "trials.jsonl")
    saved.append(JOB, [held])
    assert saved.read()[JOB][0].second == held.second or np.isnan(held.second.loop_win_rate)
    assert saved.read()[JOB][0].second.said == held.second.said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--family", "second", "--scenario", "steady"], "choose among base"),
        (["--family", "first", "--scenario", "base"], "choose among steady"),
        (["--family", "third"], "third"),
    ],
)
def test_a_scenario_of_the_other_family_is_refused(arguments, message):
    result = CliRunner().invoke(app, arguments, env={"COLUMNS": "1000"})
    assert result.exit_code == 2 and message in " ".join(result.output.split())
