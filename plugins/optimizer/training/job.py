"""The contract between a task and the training process: a folder with a job and cells, then models and a report."""

from typing import Any

from pydantic import BaseModel, ConfigDict

from optimizer.core.landscape.logit import Tails
from optimizer.core.landscape.price_steps import PriceSteps
from optimizer.errors import ConfigError, DataError, OptimizerError, UnavailableError
from optimizer.training.parameters import ModelParameters

JOB_FILE = "job.json"
CELLS_FILE = "cells.parquet"
REPORT_FILE = "report.json"
ERRORS_FILE = "errors.txt"
ERROR_STATUSES: dict[int, type[OptimizerError]] = {3: DataError, 4: ConfigError, 5: UnavailableError}
"""What the training process failed with, by its exit status; the message is the last line of its standard error."""
START = b"start\n"
"""Written to the training process once the folder has job and cells; its standard input stays open until it ends."""


class TrainingJob(BaseModel):
    """What to train. Views and clicks are totals of the window, those of views without a bid included.

    half_life_days: after that many days an auction counts half; None: walk-forward chooses.
    scheduler: address of the Dask cluster that trains the win-rate model; None: the training process does.
    """

    model_config = ConfigDict(frozen=True)

    features: tuple[str, ...]
    half_life_days: float | None
    is_second_price: bool = False
    total_views: int
    total_clicks: int
    seed: int
    threads: int
    scheduler: str | None = None
    parameters: ModelParameters = ModelParameters()
    tuning_trials: int = 0
    tuning_minutes: float = 30.0


class Trial(BaseModel):
    """One trial: its loss over all folds (nats a bid), None where the data could not be learned from with it.

    samples: the largest held-out segments of all folds, see `segment_samples`.
    """

    model_config = ConfigDict(frozen=True)

    number: int
    parameters: ModelParameters
    loss: float | None
    fold_losses: list[float]
    seconds: float
    error: str | None = None
    samples: list[dict[str, Any]]


class TuningReport(BaseModel):
    """What tuning found: losses are logistic, nats a bid, of the walk-forward folds and then of the later days.

    later_gain_low, later_gain_high: 95 % interval, by days, of what a bid's loss fell by on the later days.
    is_used: whether the run was trained with `parameters`; `reason` says why, or why not.
    """

    model_config = ConfigDict(frozen=True)

    trials: int
    reason: str
    is_used: bool = False
    best_trial: int | None = None
    parameters: ModelParameters | None = None
    usual_loss: float | None = None
    best_loss: float | None = None
    later_usual_loss: float | None = None
    later_best_loss: float | None = None
    later_gain_low: float | None = None
    later_gain_high: float | None = None


class TrainingReport(BaseModel):
    """What came out: the win-rate curve, how the models did on the latest days, and what a click is worth.

    wr_model_ece: calibration error with its interval and what it would be by chance alone; wr_model_anchor_bias: mean
    gap by anchor value; wr_model_lce: calibration error over the reach of the jitter, None without any.
    held_out: the segments with most bids on the test days, see `training.held_out`; tuning: None where it was off.
    day_levels: how far each of the latest days lay from the curve, see `optimizer.core.pricing.forecast.DayLevel`.
    click_value_cv: standard deviation of what a click earns, over its mean.
    following_floor_share: bids below this share of the mean bid of the day before on their anchor value win nothing,
        from the day following_floor_since on; 0 and None where no floor follows the bids.
    half_life_days: what was given or chosen; half_life_gain, half_life_gain_lower: see `core.landscape.recency`.
    """

    model_config = ConfigDict(frozen=True)

    @property
    def price_steps(self) -> PriceSteps | None:
        """The steps of the win-rate curve at round prices."""
        return None if self.price_ladder is None else PriceSteps(self.price_ladder, self.price_ladder_share)

    @property
    def tails(self) -> Tails:
        """The ends of the win-rate curve."""
        return Tails(self.unrivalled_share, 1 - self.lost_share)

    reference_cpm: float
    intercept: float
    score_weight: float
    slope: float
    slope_error: float
    bid_coefficient: float
    bid_coefficient_error: float
    unrivalled_share: float
    lost_share: float = 0.0
    price_ladder: str | None = None
    price_ladder_share: float = 0.0
    is_slope_naive: bool
    is_held: bool
    calibration: list[dict[str, float]]
    wr_model_auc: float
    wr_model_ece: float
    wr_model_ece_low: float
    wr_model_ece_high: float
    wr_model_ece_noise: float
    wr_model_anchor_bias: float
    wr_model_lce: float | None
    wr_model_logloss: float
    wr_model_rounds: int
    largest_fall: float
    half_life_days: float
    half_life_gain: float | None
    half_life_gain_lower: float | None
    ctr_model_auc: float | None
    ctr_model_auc_error: float | None
    ctr_model_gain_lower: float | None
    ctr_model_used: bool
    global_click_rate: float
    value_per_click: float
    click_value_cv: float = 0.0
    value_per_mille_views: float
    served_bid_low_cpm: float
    served_bid_high_cpm: float
    train_until: str
    calibrate_until: str
    test_until: str
    held_out: list[dict[str, Any]] = []
    tuning: TuningReport | None = None
    following_floor_share: float = 0.0
    following_floor_since: str | None = None
    day_levels: list[dict[str, Any]] = []
