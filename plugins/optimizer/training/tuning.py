"""Tuning: Optuna proposes parameters, walk-forward folds judge them, and the latest days say whether they are kept.

days:  |---------- fold 1 trains ---------|= 1 =|
       |---------- fold 2 trains ---------------|= 2 =|
       |---------- fold 3 trains ---------------------|= 3 =|
       |---------- the best and the usual parameters train -|== later days ==|

Every fold is fitted as a run is, on the days before it alone. The later days are those that a run is judged on; no
trial sees them. The best parameters are used where they are better there too. The study lives in this process: trials
are proposed by Optuna and reported to it, and the caller keeps them.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from time import monotonic
from typing import Any

import numpy as np
import optuna
import pandas as pd

from optimizer.core.distributions import student_t_quantile
from optimizer.core.landscape.cells import OWN_JITTER, split_by_time
from optimizer.core.landscape.jitter import learn_variation
from optimizer.errors import DataError
from optimizer.training.context import TrainingContext, open_context
from optimizer.training.held_out import HeldOut, predict_days, segment_samples
from optimizer.training.job import TrainingJob, Trial, TuningReport
from optimizer.training.parameters import ModelParameters
from optimizer.training.win_rate import fit_win_rate

FOLDS = 3
FOLD_SHARE = 0.1
"""Length of a fold, as a share of the days before the later ones."""
CONFIDENCE = 0.95

SPACE: dict[str, optuna.distributions.BaseDistribution] = {
    "learning_rate": optuna.distributions.FloatDistribution(0.02, 0.3, log=True),
    "num_leaves": optuna.distributions.IntDistribution(3, 127, log=True),
    "min_sum_hessian_in_leaf": optuna.distributions.FloatDistribution(2.0, 1000.0, log=True),
    "cat_smooth": optuna.distributions.FloatDistribution(1.0, 200.0, log=True),
    "cat_l2": optuna.distributions.FloatDistribution(1.0, 200.0, log=True),
    "level_variance": optuna.distributions.FloatDistribution(0.01, 4.0, log=True),
}


@dataclass(frozen=True, slots=True)
class Fold:
    """Days to learn from, and the days after them that are predicted."""

    train: pd.DataFrame
    later: pd.DataFrame

    def open(self, job: TrainingJob) -> tuple[TrainingContext, pd.DataFrame]:
        """Return what is fitted and what is predicted; the same for all parameters."""
        return open_context(job, self.train), self.later


OpenFold = tuple[TrainingContext, pd.DataFrame]


def tune(job: TrainingJob, cells: pd.DataFrame, *, on_trial: Callable[[Trial], None]) -> TuningReport:
    """Return what was found within the job's trials and minutes; the first trial has the usual parameters.

    Args:
        cells: prepared by the job's features.
        on_trial: hears of each trial as it ends.
    """
    cells = cells if OWN_JITTER in cells else learn_variation(cells, job.features)[0]
    final_from = split_by_time(cells).test_from
    folds = [fold.open(job) for fold in walk_forward(cells[cells["block"] < final_from])]
    if not folds:
        return TuningReport(trials=0, reason="too few days with bids for a walk-forward fold: raise lookback_days")
    trials = list(_trials(job, folds, on_trial=on_trial))
    return _judge(trials, *Fold(cells[cells["block"] < final_from], cells[cells["block"] >= final_from]).open(job))


def walk_forward(cells: pd.DataFrame, *, folds: int = FOLDS) -> Iterator[Fold]:
    """Yield the folds, the earliest first: each learns from all days, or blocks of hours, before it that are enough."""
    blocks = np.sort(cells["block"].unique())
    length = max(1, round(FOLD_SHARE * len(blocks)))
    for number in range(folds, 0, -1):
        first, end = len(blocks) - number * length, len(blocks) - (number - 1) * length
        if first < 3:
            continue
        train = cells[cells["block"] < blocks[first]]
        try:
            split_by_time(train)
        except DataError:
            continue  # too little was won or lost before this fold
        yield Fold(train, cells[(cells["block"] >= blocks[first]) & (cells["block"] <= blocks[end - 1])])


def _trials(job: TrainingJob, folds: list[OpenFold], *, on_trial: Callable[[Trial], None]) -> Iterator[Trial]:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="minimize", sampler=optuna.samplers.TPESampler(seed=job.seed))
    study.enqueue_trial(job.parameters.model_dump())
    deadline = monotonic() + 60 * job.tuning_minutes
    for _ in range(job.tuning_trials):
        asked = study.ask(SPACE)
        trial = _try(folds, number=asked.number, parameters=ModelParameters(**asked.params))
        state = optuna.trial.TrialState.FAIL if trial.loss is None else None
        study.tell(asked, trial.loss, state=state)
        on_trial(trial)
        yield trial
        if monotonic() > deadline:
            return


def _try(folds: list[OpenFold], *, number: int, parameters: ModelParameters) -> Trial:
    begun = monotonic()
    known = {"number": number, "parameters": parameters}
    try:
        held_out = [_predict(parameters, context, later) for context, later in folds]
    except DataError as error:
        seconds = monotonic() - begun
        return Trial(**known, loss=None, fold_losses=[], seconds=seconds, error=str(error), samples=[])
    cells = pd.concat([fold.cells for fold in held_out], ignore_index=True)
    return Trial(
        **known,
        loss=HeldOut(cells, 0.0).loss,
        fold_losses=[fold.loss for fold in held_out],
        seconds=monotonic() - begun,
        samples=segment_samples(cells, folds[0][0].job.features),
    )


def _predict(parameters: ModelParameters, context: TrainingContext, later: pd.DataFrame) -> HeldOut:
    own = replace(context, job=context.job.model_copy(update={"parameters": parameters}))
    return predict_days(own, fit_win_rate(own), later)


def _judge(trials: list[Trial], context: TrainingContext, later: pd.DataFrame) -> TuningReport:
    """Compare the best trial's parameters with the usual ones on the later days, which decided nothing so far."""
    known = [(trial.loss, trial) for trial in trials if trial.loss is not None]
    usual = trials[0]
    if usual.loss is None or not known:
        return TuningReport(trials=len(trials), reason=f"the usual parameters cannot be judged: {usual.error}")
    _, best = min(known, key=lambda pair: pair[0])
    figures: dict[str, Any] = {"trials": len(trials), "usual_loss": usual.loss, "best_loss": best.loss}
    if best is usual:
        return TuningReport(**figures, best_trial=0, reason="no trial was better than the usual parameters")
    before, after = (_predict(trial.parameters, context, later).daily() for trial in (usual, best))
    gain = (before["loss"] - after["loss"]).to_numpy()
    mean, margin = _by_days(gain, before["bids"].to_numpy(float))
    is_used = mean > 0
    return TuningReport(
        **figures,
        best_trial=best.number,
        parameters=best.parameters,
        later_usual_loss=float(before["loss"].sum() / before["bids"].sum()),
        later_best_loss=float(after["loss"].sum() / after["bids"].sum()),
        later_gain_low=mean - margin,
        later_gain_high=mean + margin,
        is_used=is_used,
        reason="better on the later days too" if is_used else "no better on the later days: the usual ones are used",
    )


def _by_days(gain: np.ndarray, bids: np.ndarray) -> tuple[float, float]:
    """Return the gain of a bid, and half its interval by days: bids of one day share its market."""
    mean, days = gain.sum() / bids.sum(), len(gain)
    if days < 2:
        return float(mean), float(abs(mean))
    error = np.sqrt(days / (days - 1) * ((gain - mean * bids) ** 2).sum()) / bids.sum()
    return float(mean), float(error * student_t_quantile(0.5 + CONFIDENCE / 2, days - 1))
