"""The intervals of a what-if against known truth, on small markets; `make truth` has more and larger ones."""

from dataclasses import asdict, fields
from unittest.mock import patch

import numpy as np
import pytest

from lab.evaluation import what_if_judgement
from lab.evaluation.goals import GOALS, TrialFigures
from lab.evaluation.trials import Job
from lab.evaluation.what_if_judgement import WhatIfCoverage

SEEDS = (1, 2, 3)
BIDS, REQUESTS = 60_000, 30_000
NAMES = tuple(field.name for field in fields(WhatIfCoverage))


@pytest.fixture(scope="module")
def trials() -> list[TrialFigures]:
    with patch.object(what_if_judgement, "REQUESTS", REQUESTS):
        return [trial for seed in SEEDS for trial in Job("what-if, paid per view", seed, BIDS).run()]


@pytest.mark.parametrize("name", NAMES)
def test_what_is_said_of_other_settings_holds_the_truth_in_nine_of_ten_cases(trials: list[TrialFigures], name: str):
    """Five wishes a market, with and without the daily step: win rate, CPM, spend, margin, lambda and five limits."""
    held = [asdict(trial)[name] for trial in trials]
    assert np.nanmean(held) >= 0.9


def test_every_figure_of_a_what_if_is_a_line_of_the_table():
    assert set(NAMES) <= {goal.figure for goal in GOALS}
