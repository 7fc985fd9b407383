"""Would the run all but stop the bidding, or spend far more? Coverage, wins and spend against what is live."""

from dataclasses import dataclass

import pandas as pd

from optimizer.core.checks.measures import BidMeasures
from optimizer.core.checks.outcome import Check
from optimizer.core.checks.rules import Rule, by_name
from optimizer.core.config.settings import RunSettings
from optimizer.core.records.bid_figures import BidFigures

MIN_COVERAGE_SHARE = 0.8
RECENT_DAYS = 7

VOLUME = (
    Rule(
        name="row_coverage",
        severity="hard",
        relation=">=",
        limit_text="min_row_coverage",
        problem="too few requests would find a bid of their own (blocked keys do not count)",
        next_step="compare floors with max_bid_cpm and target_margin, or lower max_features",
    ),
    Rule(
        name="row_coverage_share_of_active",
        severity="hard",
        relation=">=",
        limit_text="0.8",
        problem="far fewer requests would find a bid of their own than with the active run",
        next_step="compare the features of both runs, and their blocked keys",
    ),
    Rule(
        name="win_share",
        severity="hard",
        relation=">=",
        limit_text="min_win_share",
        problem="the bids would win far less than now",
        next_step="look at the largest changes and the blocked keys in report.html, or lower min_win_share for one run",
    ),
    Rule(
        name="spend_share",
        severity="hard",
        relation=">=",
        limit_text="min_spend_share",
        problem="the bids would spend far less than now",
        next_step="look at the largest changes and the blocked keys in report.html, "
        "or lower min_spend_share for one run",
    ),
    Rule(
        name="spend_change",
        severity="hard",
        relation="<=",
        limit_text="max_spend_change",
        problem="the predicted spend differs too much from that of the active run's bids",
        next_step="look at the largest changes in report.html, or raise max_spend_change",
    ),
)

_RULES = by_name(VOLUME)


@dataclass(frozen=True, slots=True)
class VolumeBaseline:
    """What is won and spent now: by the active run's own forecast, or on the log's latest days before there is one.

    spend_cpm: per thousand requests.
    """

    win_rate: float
    spend_cpm: float

    @classmethod
    def of(cls, figures: BidFigures, cells: pd.DataFrame) -> "VolumeBaseline":
        """Return the baseline; cells are those of the window, as extracted."""
        win_rate, cpm = figures.active_expected_win_rate, figures.active_expected_cpm
        if win_rate is not None and cpm is not None:
            return cls(win_rate, win_rate * cpm)
        day = pd.to_datetime(cells["day"])
        latest = cells[day > day.max() - pd.Timedelta(days=RECENT_DAYS)]
        requests = float(latest["bids"].sum())
        return cls(float(latest["wins"].sum()) / requests, float(latest["cost_cpm_sum"].sum()) / requests)

    def for_target(self, target_win_rate: float) -> "VolumeBaseline":
        """Return what is left of it where the target is lower than what is won now."""
        share = min(1.0, target_win_rate / self.win_rate) if self.win_rate > 0 else 1.0
        return VolumeBaseline(share * self.win_rate, share * self.spend_cpm)


def volume_checks(
    measured: BidMeasures, *, figures: BidFigures, cells: pd.DataFrame, settings: RunSettings
) -> list[Check]:
    """Return the checks of how many requests find a bid, and of what they win and spend.

    Args:
        figures: what compute_bids noted, the active run's figures among them.
        cells: of the window, as extracted.
    """
    baseline = VolumeBaseline.of(figures, cells).for_target(settings.target_win_rate)
    return [
        _RULES["row_coverage"].check(measured.row_coverage, settings.min_row_coverage),
        *_RULES["row_coverage_share_of_active"].check_known(
            _ratio(measured.row_coverage, figures.active_row_coverage), MIN_COVERAGE_SHARE
        ),
        *_RULES["win_share"].check_known(_ratio(measured.win_rate, baseline.win_rate), settings.min_win_share),
        *_RULES["spend_share"].check_known(_ratio(measured.spend_cpm, baseline.spend_cpm), settings.min_spend_share),
        *_RULES["spend_change"].check_known(
            None if measured.spend_change is None else abs(measured.spend_change), settings.max_spend_change
        ),
    ]


def _ratio(new: float, old: float | None) -> float | None:
    return new / old if old else None
