"""Tuning on logs of known truth: walk-forward folds, what is reported to Optuna, what is kept."""

import itertools
import re

import numpy as np
import pandas as pd
import pytest
from core.worlds import logistic_cells

from optimizer.core.landscape.cells import prepare_cells
from optimizer.errors import DataError
from optimizer.training.fitting import fit
from optimizer.training.job import REPORT_FILE, TrainingJob, TrainingReport, Trial
from optimizer.training.parameters import ModelParameters
from optimizer.training.process import run_training
from optimizer.training.tuning import SPACE, tune, walk_forward
from optimizer.training.win_rate import fit_win_rate

FEATURES = ("adspace", "region")


def new_job(cells: pd.DataFrame, **fields) -> TrainingJob:
    totals = {"total_views": int(cells["wins"].sum()), "total_clicks": int(cells["clicks"].sum())}
    return TrainingJob(features=FEATURES, half_life_days=21.0, seed=1, threads=1, **totals, **fields)


@pytest.fixture(scope="module")
def cells() -> pd.DataFrame:
    return logistic_cells(5, bids=5_000, days=15)


@pytest.fixture(scope="module")
def tuned(cells) -> tuple[TrainingReport, list[Trial]]:
    """Return the report of a job that starts with bad parameters, and its trials."""
    bad = ModelParameters(min_sum_hessian_in_leaf=1000.0, level_variance=0.01)  # no split, and nothing beside it
    heard: list[Trial] = []
    fitted = fit(new_job(cells, parameters=bad, tuning_trials=4), cells, on_trial=heard.append)
    return fitted.report, heard


def test_every_fold_learns_from_the_days_before_it_and_predicts_days_of_its_own(cells):
    folds = list(walk_forward(prepare_cells(cells, FEATURES)))
    assert len(folds) == 3
    for fold in folds:
        assert (fold.later["day"].min() - fold.train["day"].max()).days == 1
        assert fold.later["day"].nunique() == 2
    starts = [fold.later["day"].min() for fold in folds]
    assert [(later - earlier).days for earlier, later in itertools.pairwise(starts)] == [2, 2]


def test_a_job_that_starts_badly_is_tuned_out_of_it_and_is_better_on_days_that_no_trial_saw(tuned):
    report, heard = tuned
    found = report.tuning
    assert [trial.number for trial in heard] == list(range(4))
    assert found.trials == 4 and found.best_loss == min(trial.loss for trial in heard) < found.usual_loss
    assert found.is_used and found.later_best_loss < found.later_usual_loss < np.log(2)
    assert found.later_gain_low < found.later_usual_loss - found.later_best_loss < found.later_gain_high
    for trial in heard:
        assert all(SPACE[name].low <= value <= SPACE[name].high for name, value in trial.parameters)
        assert min(trial.fold_losses) <= trial.loss <= max(trial.fold_losses)


def test_the_samples_of_a_trial_are_its_largest_segments_predicted_and_observed(tuned):
    samples = tuned[1][1].samples
    assert len(samples) == 50 and samples[0]["bids"] >= samples[-1]["bids"] > 0
    assert all(re.fullmatch(r"a\d\|r\d+", sample["segment_key"]) for sample in samples)
    assert np.mean([sample["is_within_chance"] for sample in samples]) > 0.8
    gaps = [sample["predicted"] - sample["observed"] for sample in samples]
    assert np.std(gaps) < np.std([sample["observed"] for sample in samples])


def test_a_trial_that_cannot_be_learned_from_is_reported_as_failed_and_the_others_count(cells, monkeypatch):
    calls = []

    def fail_after_the_first_trial(context):
        calls.append(context)
        if len(calls) == 4:
            raise DataError("the fit does not converge")
        return fit_win_rate(context)

    monkeypatch.setattr("optimizer.training.tuning.fit_win_rate", fail_after_the_first_trial)
    heard: list[Trial] = []
    report = tune(new_job(cells, tuning_trials=2), prepare_cells(cells, FEATURES), on_trial=heard.append)
    assert [(trial.loss is None, trial.error) for trial in heard] == [
        (False, None),
        (True, "the fit does not converge"),
    ]
    assert (report.best_trial, report.is_used) == (0, False)


def test_few_days_leave_the_usual_parameters_and_say_why(cells):
    short = cells[cells["day"] < cells["day"].min() + pd.Timedelta(days=4)]
    report = fit(new_job(short, tuning_trials=5), short).report
    assert (report.tuning.trials, report.tuning.is_used) == (0, False)
    assert "raise lookback_days" in report.tuning.reason


def test_the_training_process_reports_each_trial_as_it_ends_and_the_same_seed_finds_the_same(cells, tuned, tmp_path):
    _, before = tuned
    job = new_job(cells, parameters=before[0].parameters, tuning_trials=50, tuning_minutes=0)
    (tmp_path / "job.json").write_text(job.model_dump_json())
    cells.to_parquet(tmp_path / "cells.parquet", index=False)
    heard: list[tuple[Trial, bool]] = []
    report = run_training(tmp_path, on_trial=lambda trial: heard.append((trial, (tmp_path / REPORT_FILE).exists())))
    ((trial, is_after_the_report),) = heard  # the minutes are over after one trial
    assert not is_after_the_report
    assert (trial.parameters, trial.loss, trial.samples) == (before[0].parameters, before[0].loss, before[0].samples)
    assert report.tuning.trials == 1 and len(report.held_out) == 50
