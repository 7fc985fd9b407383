"""The figures of a run by section: metrics.json, and the rows of opt_run_metrics."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from operator import attrgetter
from typing import Any

from optimizer.core.checks.outcome import VERDICT_CODES
from optimizer.core.pricing.backtest import Backtest
from optimizer.reporting.forecast import FORECAST_KEYS
from optimizer.runs.identification import IDENTIFICATION
from optimizer.runs.staged_run import StagedRun

Figure = tuple[str, str, float | None]
Figures = Mapping[str, float | None]


@dataclass(frozen=True, slots=True)
class Section:
    """A section of metrics.json.

    keys: the names of its figures; empty where they depend on the run.
    """

    figures: Callable[[StagedRun], Figures]
    keys: tuple[str, ...] = ()


def _fixed(figures: Mapping[str, Callable[[StagedRun], float | None]]) -> Section:
    """A section that has these figures in every run."""
    return Section(lambda run: {key: read(run) for key, read in figures.items()}, tuple(figures))


def _of(record: str, *names: str) -> dict[str, Callable[[StagedRun], float | None]]:
    """Figures that have the name of a field of one of the run's records."""
    return {name: attrgetter(f"{record}.{name}") for name in names}


def _tuning(run: StagedRun) -> Figures:
    tuning = run.training.tuning
    return {} if tuning is None else tuning.model_dump(exclude={"reason", "parameters"})


def _forecast(run: StagedRun) -> Figures:
    return {key: getattr(run.bids, key) for key in FORECAST if key in run.bids.model_fields_set}


def backtest_figures(backtest: Backtest | None) -> dict[str, float | None]:
    """Return the backtest's figures: `<quantity>_<new, active or difference>`, the bounds of the new ones, support."""
    if backtest is None:
        return {}
    names = ("active", "new", "new_low", "new_high", "difference", "difference_low", "difference_high")
    rows = {f"{row.quantity}_{name}": getattr(row, name) for row in backtest.rows for name in names}
    figures = ("is_supported", "days", "effective_sample_size", "supported_share", "replay_low", "replay_high")
    return {**{name: getattr(backtest, name) for name in figures}, **rows}


FORECAST = (*FORECAST_KEYS, "level_correction", "forecast_level_sd")

SECTIONS: Mapping[str, Section] = {
    "win_rate_model": _fixed(
        _of(
            "training",
            "wr_model_auc",
            "wr_model_ece",
            "wr_model_ece_low",
            "wr_model_ece_high",
            "wr_model_ece_noise",
            "wr_model_anchor_bias",
            "wr_model_lce",
            "wr_model_logloss",
            "wr_model_rounds",
            "largest_fall",
            "half_life_days",
            "half_life_gain",
            "half_life_gain_lower",
        )
    ),
    "ctr_model": _fixed(
        _of(
            "training",
            "ctr_model_auc",
            "ctr_model_auc_error",
            "ctr_model_gain_lower",
            "ctr_model_used",
            "global_click_rate",
        )
    ),
    "tuning": Section(_tuning),
    "tracking": Section(lambda run: run.tracking.figures()),
    "bid_landscape": _fixed(
        {
            **_of("training", "bid_coefficient", "bid_coefficient_error"),
            "bid_coefficient_is_naive": attrgetter("training.is_slope_naive"),
            **_of("training", "slope", "slope_error", "unrivalled_share", "lost_share", "reference_cpm"),
            **_of("bids", "trust_low_cpm", "trust_high_cpm"),
        }
    ),
    "global_stats": _fixed(
        {
            "global_win_rate": lambda run: run.log.joined_views / run.log.usable_bids,
            **_of("training", "value_per_click", "value_per_mille_views"),
        }
    ),
    "data": _fixed(
        _of("log", "bid_rows", "duplicate_bids", "zero_bids", "duplicate_views", "orphan_views", "orphan_clicks")
    ),
    "warehouse": Section(lambda run: {} if run.log.query_costs is None else run.log.query_costs.model_dump()),
    "coarse_cells": Section(lambda run: {} if run.log.coarse is None else run.log.coarse.figures()),
    "bidding": _fixed(
        _of(
            "bids",
            "shadow_price_cpm",
            "value_trust",
            "fallback_bid_cpm",
            "expected_win_rate",
            "target_shortfall",
            "expected_cpm",
            "expected_margin",
            "segment_scope_cpm_ratio",
            "row_coverage",
            "segments_in_memcache",
            "jitter_sd",
            "jitter_spread",
            "step_limit",
            "level_correction",
        )
    ),
    "forecast": Section(_forecast, FORECAST),
    IDENTIFICATION: Section(lambda run: run.bids.identification),
    "backtest": Section(lambda run: backtest_figures(run.backtest)),
    "validation": Section(lambda run: {check.name: check.figure for check in run.validation.checks}),
    "validation_limits": Section(lambda run: {check.name: check.limit for check in run.validation.checks}),
    "validation_verdicts": Section(
        lambda run: {check.name: VERDICT_CODES[check.verdict] for check in run.validation.checks}
    ),
    "target": Section(lambda run: run.validation.target),
}
"""Section of metrics.json, in order: its figures."""


def run_figures(run: StagedRun) -> list[Figure]:
    """Return (section, key, value) of every figure of the run: the rows of opt_run_metrics."""
    return [
        (name, key, None if value is None else float(value))
        for name, section in SECTIONS.items()
        for key, value in section.figures(run).items()
    ]


def metrics_document(run: StagedRun) -> dict[str, Any]:
    """Return metrics.json: {section: {metric: figure}}, calibration, the features' scores, reasons, every check."""
    sections: dict[str, Any] = {}
    for section, key, value in run_figures(run):
        sections.setdefault(section, {})[key] = value
    return {
        **sections,
        "link": run.bids.link.model_dump(mode="json"),
        "calibration": list(run.training.calibration),
        "features": [asdict(score) for score in run.selection.scores],
        "reasons": dict(run.bids.reasons),
        "checks": [check.model_dump(mode="json") for check in run.validation.checks],
    }
