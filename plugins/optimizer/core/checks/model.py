"""Can the model be trusted, and does no feature know the outcome?"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd

from optimizer.core.checks.outcome import Check
from optimizer.core.checks.rules import Rule, by_name
from optimizer.core.config.settings import RunSettings
from optimizer.core.landscape.calibration import weighted_auc

MAX_OUTCOME_AUC = 0.98
"""Above this AUC on later days a feature is not a trait of the request but a trace of the outcome."""

MAX_FALL = 1e-9

MODEL = (
    Rule(
        name="outcome_features",
        severity="hard",
        relation="<=",
        limit_text="0",
        problem="a feature knows whether the bid won",
        next_step="remove its row from opt_feature_macros: the bidder cannot know its value before the auction",
    ),
    Rule(
        name="largest_fall",
        severity="hard",
        relation="<=",
        limit_text="1e-9",
        problem="the modeled win rate falls as the bid rises",
        next_step="do not use this run; report it to the optimizer team",
    ),
    Rule(
        name="calibration_error",
        severity="hard",
        relation="<=",
        limit_text="max_calibration_error",
        problem="predicted and observed win rates differ on the latest days",
        next_step="look for a market change or an incomplete load of VIEWS",
    ),
    Rule(
        name="ctr_auc_lower",
        severity="soft",
        relation=">=",
        limit_text="0.5",
        problem="the click model may rank no better than chance, and it is used",
        next_step="check the load of CLICKS; a longer lookback_days brings more clicks",
    ),
)

_RULES = by_name(MODEL)


@dataclass(frozen=True, slots=True)
class OutcomeFeature:
    """How well a feature alone separates wins from losses: AUC on later days of the win rates of earlier ones."""

    name: str
    auc: float


class FittedFigures(Protocol):
    """What the checks read of a training report."""

    @property
    def largest_fall(self) -> float: ...
    @property
    def wr_model_ece(self) -> float: ...
    @property
    def ctr_model_used(self) -> bool: ...
    @property
    def ctr_model_auc(self) -> float | None: ...
    @property
    def ctr_model_auc_error(self) -> float | None: ...


def model_checks(report: FittedFigures, settings: RunSettings) -> list[Check]:
    """Return the checks of the models."""
    checks = [
        _RULES["largest_fall"].check(report.largest_fall, MAX_FALL),
        _RULES["calibration_error"].check(report.wr_model_ece, settings.max_calibration_error),
    ]
    if report.ctr_model_used and report.ctr_model_auc is not None:
        lower = report.ctr_model_auc - 1.96 * (report.ctr_model_auc_error or 0.0)
        checks.append(_RULES["ctr_auc_lower"].check(lower, 0.5))
    return checks


def outcome_check(cells: pd.DataFrame, candidates: Sequence[str], *, selected: Sequence[str]) -> Check:
    """Return the check that no candidate feature knows whether the bid won.

    Args:
        cells: of `optimizer.core.landscape.cells`, as extracted, by these candidates.
        selected: those that make up the segment key.
    """
    dated = cells.assign(day=pd.to_datetime(cells["day"]))
    found = [OutcomeFeature(name, outcome_auc(dated, name)) for name in candidates]
    wrong = [feature for feature in found if feature.auc > MAX_OUTCOME_AUC]
    if not wrong:
        return _RULES["outcome_features"].check(0, 0)
    names = ", ".join(
        f"{feature.name}{' (in the segment key)' if feature.name in selected else ''}" for feature in wrong
    )
    problem = (
        f"{names} knows whether the bid won: its values alone rank won above lost bids with an AUC of "
        f"{max(feature.auc for feature in wrong):.3f}"
    )
    removed = ", ".join(feature.name for feature in wrong)
    next_step = (
        f"set status='I' on {removed} in opt_feature_macros, or load the value that the bid request had: the bidder "
        "cannot know it before the auction"
    )
    return _RULES["outcome_features"].check(len(wrong), 0, problem=problem, next_step=next_step)


def outcome_auc(cells: pd.DataFrame, feature: str) -> float:
    """Return the AUC with which the win rates of a feature's values on earlier days rank the bids of later days.

    Values of a single request, such as an ID, are new on later days and have the overall win rate there: on the days
    that they were learned from, they would rank everything.
    """
    day = pd.to_datetime(cells["day"])
    days = np.sort(day.unique())
    if len(days) < 2:
        return 0.5
    is_later = (day >= days[len(days) // 2]).to_numpy()
    value = pd.factorize(cells[feature].astype("object").where(cells[feature].notna(), ""))[0]
    bids, wins = cells["bids"].to_numpy(float), cells["wins"].to_numpy(float)
    seen, won = (np.bincount(value, np.where(is_later, 0.0, counts)) for counts in (bids, wins))
    overall = won.sum() / seen.sum()
    rate = (won + overall) / (seen + 1)
    auc = weighted_auc(rate[value[is_later]], successes=wins[is_later], trials=bids[is_later])
    return 0.5 if auc is None else auc
