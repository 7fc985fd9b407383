"""What bounds the bids of a run: its settings, and how well it knows slope and value."""

import math

import numpy as np

from optimizer.core.config.settings import RunSettings
from optimizer.core.landscape.slope import IDENTIFIED_ERROR_SHARE
from optimizer.core.pricing.bid_jitter import LEAST_JITTER_SD
from optimizer.core.pricing.bid_policy import BidPolicy
from optimizer.training.job import TrainingReport

JITTER_SD = {"off": LEAST_JITTER_SD, "on": 0.10, "aggressive": 0.15}

LEAST_JITTER_SHARE = 0.3
"""Jitter shrinks as the slope is known, to no less than this share: markets change, and learning must go on."""

AGGRESSIVE_STEP_FACTOR = 2.0


def bid_policy(settings: RunSettings, report: TrainingReport, *, total_clicks: int) -> BidPolicy:
    """Return what bounds the bids of a run with these settings."""
    mode = "aggressive" if settings.aggressive_exploration else "on"
    return BidPolicy.of(
        settings,
        jitter_sd=_jitter_sd(mode if settings.exploration_mode else "off", report),
        step_limit=settings.daily_step_limit * (AGGRESSIVE_STEP_FACTOR if settings.aggressive_exploration else 1.0),
        value_trust=value_trust(report, total_clicks=total_clicks),
    )


def value_trust(report: TrainingReport, *, total_clicks: int) -> float:
    """Return theta, 0 to 1: the mean value with clicks one standard error below what they earned, over the mean value.

    The sum of n clicks that earn m each, with coefficient of variation cv, has a variance of n m^2 (1 + cv^2): their
    count is Poisson. What views earn by themselves is known.
    """
    by_clicks = 1000 * report.global_click_rate * report.value_per_click
    value = by_clicks + report.value_per_mille_views
    if value <= 0 or not total_clicks:
        return report.value_per_mille_views / value if value > 0 else 0.0
    error = math.sqrt((1 + report.click_value_cv**2) / total_clicks)
    return max(0.0, 1.0 - error * by_clicks / value)


def _jitter_sd(mode: str, report: TrainingReport) -> float:
    """Full where the slope is barely known, less in proportion to its relative error: the cost falls by the square."""
    if mode != "on" or report.is_slope_naive or report.is_held:
        return JITTER_SD[mode]
    known = report.slope_error / (IDENTIFIED_ERROR_SHARE * report.slope)
    return JITTER_SD[mode] * float(np.clip(known, LEAST_JITTER_SHARE, 1.0))
