"""The files of a run, written from what its steps staged."""

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from optimizer.core.checks.outcome import VERDICT_CODES
from optimizer.core.pricing.backtest import Backtest
from optimizer.core.records import run_files
from optimizer.core.records.config_snapshot import ConfigSnapshot
from optimizer.reporting.forecast import FORECAST_KEYS
from optimizer.reporting.report_data import RunStory
from optimizer.runs import artifacts, staging
from optimizer.runs.handle import RunHandle
from optimizer.runs.identification import IDENTIFICATION
from optimizer.runs.report_inputs import gather_story

BID_COLUMNS = {
    "suggested_bid_cpm": "suggested_bid_cpm",
    "planned_bid_cpm": "planned_bid_cpm",
    "jitter": "jitter",
    "bids": "bids",
    "wins": "views",
    "clicks": "clicks",
    "observed_win_rate": "observed_win_rate",
    "modelled_win_rate": "modelled_win_rate",
    "observed_ctr": "observed_ctr",
    "click_rate": "modelled_ctr",
    "expected_win_rate": "expected_win_rate",
    "expected_margin": "expected_margin",
    "reason": "reason",
    "is_served": "is_served",
    "effective_bids": "effective_bids",
    "model_level": "model_level",
    "level_shift": "level_shift",
    "level_error": "level_error",
    "own_share": "own_share",
    "level": "level",
    "flatness": "flatness",
    "slope": "slope",
    "slope_error": "slope_error",
    "is_slope_identified": "is_slope_identified",
    "is_held": "is_held",
    "value_cpm": "value_cpm",
    "expected_cost_cpm": "expected_cost_cpm",
    "floor_cpm": "floor_cpm",
    "hidden_floor_cpm": "hidden_floor_cpm",
    "round_price_cpm": "round_price_cpm",
    "usual_bid_cpm": "usual_bid_cpm",
    "previous_bid_cpm": "previous_bid_cpm",
    "step_from_cpm": "step_from_cpm",
    "requests": "requests",
    "trust_low_cpm": "trust_low_cpm",
    "trust_high_cpm": "trust_high_cpm",
    "wanted_bid_cpm": "wanted_bid_cpm",
}
"""Column of the bid table: column of suggested_bids.csv."""

MULTIPLIER_COLUMNS = ["multiplier", "bids", "views", "clicks"]
Figure = tuple[str, str, float | None]


@dataclass(frozen=True, slots=True)
class OutputFile:
    """A file on this machine that will become an object of the run."""

    output_type: str
    path: Path
    row_count: int | None


def write_outputs(
    folder: Path,
    *,
    run: RunHandle,
    stage: staging.Staging,
    snapshot: ConfigSnapshot,
    started_at: datetime,
) -> dict[str, OutputFile]:
    """Write every file of the run to the folder and return them by name."""
    settings, features = snapshot.settings, artifacts.SELECTION.read(stage).features
    bids = stage.get_frame(run_files.BIDS)
    biddable = bids[bids["suggested_bid_cpm"].notna()].sort_values("bids", ascending=False, kind="stable")
    in_memcache = bids[bids["is_served"] | bids["is_blocked"]].sort_values("bids", ascending=False, kind="stable")
    memcache = pd.DataFrame(
        {"segment_key": in_memcache["segment_key"], "bid": in_memcache["suggested_bid_cpm"].fillna(0)}
    )
    files = [
        _csv(
            folder,
            "suggested_bids",
            biddable.rename(columns=BID_COLUMNS)[["segment_key", *features, *BID_COLUMNS.values()]],
        ),
        _csv(folder, "memcache", memcache),  # a bid of 0 says: do not bid
    ]
    if settings.domain_enabled:
        files.append(
            _csv(folder, "domain_multipliers", stage.get_frame(run_files.DOMAINS)[["domain", *MULTIPLIER_COLUMNS]])
        )
    if settings.npi_enabled:
        files.append(_csv(folder, "npi_multipliers", stage.get_frame(run_files.NPIS)[["npi", *MULTIPLIER_COLUMNS]]))
    files.append(_json(folder, "metrics", metrics_document(stage)))
    files.append(_json(folder, "config", snapshot.to_json()))
    story = gather_story(stage, run=run, snapshot=snapshot, started_at=started_at)
    files.append(_report(folder, story))
    for name in (run_files.WIN_MODEL, run_files.CLICK_MODEL):
        if stage.has(name):
            files.append(OutputFile(Path(name).stem, stage.get_file(name, folder / name), None))
    return {file.path.name: file for file in files}


def metrics_document(stage: staging.Staging) -> dict[str, Any]:
    """Return metrics.json: {section: {metric: figure}}, the features' scores, the reasons and every check."""
    sections: dict[str, Any] = {}
    for section, key, value in run_figures(stage):
        sections.setdefault(section, {})[key] = value
    return {
        **sections,
        "link": artifacts.BID_FIGURES.read(stage).link.model_dump(),
        "features": [asdict(score) for score in artifacts.SELECTION.read(stage).scores],
        "reasons": dict(artifacts.BID_FIGURES.read(stage).reasons),
        "checks": [check.model_dump() for check in artifacts.VALIDATION.read(stage).checks],
    }


def run_figures(stage: staging.Staging) -> list[Figure]:
    """Return (section, key, value) of every figure of the run: the rows of opt_run_metrics."""
    report = artifacts.TRAINING.read(stage)
    totals, bids = artifacts.TOTALS.read(stage), artifacts.BID_FIGURES.read(stage)
    win_rate_model = (
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
    click_model = (
        "ctr_model_auc",
        "ctr_model_auc_error",
        "ctr_model_gain_lower",
        "ctr_model_used",
        "global_click_rate",
    )
    landscape = {
        "bid_coefficient": report.bid_coefficient,
        "bid_coefficient_error": report.bid_coefficient_error,
        "bid_coefficient_is_naive": report.is_slope_naive,
        "slope": report.slope,
        "slope_error": report.slope_error,
        "unrivalled_share": report.unrivalled_share,
        "lost_share": report.lost_share,
        "reference_cpm": report.reference_cpm,
        "trust_low_cpm": bids.trust_low_cpm,
        "trust_high_cpm": bids.trust_high_cpm,
    }
    global_stats = {
        "global_win_rate": totals.joined_views / totals.usable_bids,
        "value_per_click": report.value_per_click,
        "value_per_mille_views": report.value_per_mille_views,
    }
    data = ("bid_rows", "duplicate_bids", "zero_bids", "duplicate_views", "orphan_views", "orphan_clicks")
    bidding = (
        "shadow_price_cpm",
        "value_trust",
        "fallback_bid_cpm",
        "expected_win_rate",
        "target_shortfall",
        "expected_cpm",
        "expected_margin",
        "segment_scope_cpm_ratio",
        "row_coverage",
        "jitter_sd",
        "jitter_spread",
        "step_limit",
        "level_correction",
    )
    forecast = (*FORECAST_KEYS, "level_correction", "forecast_level_sd")
    tracking = artifacts.TRACKING.read(stage).figures() if stage.has(run_files.TRACKING) else {}
    tuning = {} if report.tuning is None else report.tuning.model_dump(exclude={"reason", "parameters"})
    validation = artifacts.VALIDATION.read(stage)
    checks = validation.checks
    backtest = backtest_figures(artifacts.BACKTEST.read(stage))
    return [
        *_section("win_rate_model", {key: getattr(report, key) for key in win_rate_model}),
        *_section("ctr_model", {key: getattr(report, key) for key in click_model}),
        *_section("tuning", tuning),
        *_section("tracking", tracking),
        *_section("bid_landscape", landscape),
        *_section("global_stats", global_stats),
        *_section("data", {key: getattr(totals, key) for key in data}),
        *_section("bidding", {key: getattr(bids, key) for key in bidding}),
        *_section("forecast", {key: getattr(bids, key) for key in forecast if key in bids.model_fields_set}),
        *_section(IDENTIFICATION, dict(bids.identification)),
        *_section("backtest", backtest),
        *_section("validation", {check.name: check.figure for check in checks}),
        *_section("validation_limits", {check.name: check.limit for check in checks}),
        *_section("validation_verdicts", {check.name: VERDICT_CODES[check.verdict] for check in checks}),
        *_section("target", dict(validation.target)),
    ]


def backtest_figures(backtest: Backtest | None) -> dict[str, float | None]:
    """Return the backtest's figures: `<quantity>_<new, active or difference>`, the bounds of the new ones, support."""
    if backtest is None:
        return {}
    names = ("active", "new", "new_low", "new_high", "difference", "difference_low", "difference_high")
    rows = {f"{row.quantity}_{name}": getattr(row, name) for row in backtest.rows for name in names}
    figures = ("is_supported", "days", "effective_sample_size", "supported_share", "replay_low", "replay_high")
    return {**{name: getattr(backtest, name) for name in figures}, **rows}


def _section(section: str, figures: dict[str, Any]) -> list[Figure]:
    return [(section, key, None if value is None else float(value)) for key, value in figures.items()]


def _csv(folder: Path, output_type: str, table: pd.DataFrame) -> OutputFile:
    path = folder / f"{output_type}.csv"
    table.to_csv(path, index=False, lineterminator="\n", float_format="%.10g")
    return OutputFile(output_type, path, len(table))


def _report(folder: Path, story: RunStory) -> OutputFile:
    # Matplotlib takes a second to load, which no other step should wait for.
    from optimizer.reporting.page import render_report

    path = folder / "report.html"
    path.write_text(render_report(story), encoding="utf-8")
    return OutputFile("report", path, None)


def _json(folder: Path, output_type: str, content: Any) -> OutputFile:
    path = folder / f"{output_type}.json"
    path.write_text(json.dumps(content, indent=2, allow_nan=False))
    return OutputFile(output_type, path, None)
