"""The figures of a run's report: its bids, what set them, whom they reach, its models and multipliers."""

from typing import Any

import pandas as pd
from pydantic import BaseModel

from optimizer.console import run_charts
from optimizer.console.answers.run import OwnedRun
from optimizer.console.answers.segments import read_bids
from optimizer.console.context import Context
from optimizer.core.frames import rows_of
from optimizer.core.pricing.bid_steps import known
from optimizer.core.pricing.segment_curve import segment_curve
from optimizer.core.pricing.segment_search import key_text
from optimizer.core.records import run_files
from optimizer.reporting.tables import REASONS, SEGMENT_REASONS
from optimizer.runs.published_run import PublishedRun

LARGEST = 6


class ReasonShare(BaseModel):
    """How many bids one reason set; request_share: of the bids in the log."""

    reason: str
    meaning: str
    segments: int
    request_share: float


class LargeSegment(BaseModel):
    """One of the segments with most bids in the log, and its curve."""

    segment_key: str
    text: str
    chart: dict[str, Any]


class FeatureRow(BaseModel):
    """A candidate feature; see `FeatureScore`."""

    feature_name: str
    signal_score: float | None
    gain: float | None
    gain_lower: float | None
    is_selected: bool
    is_anchor: bool
    reason: str


class RunCharts(BaseModel):
    """The charts and tables; charts are what charts.js takes."""

    charts: list[dict[str, Any]]
    curves: list[LargeSegment]
    reasons: list[ReasonShare]
    features: list[FeatureRow]


def read_figures(asked: Context, found: OwnedRun) -> RunCharts:
    """Return the figures of the run.

    Raises:
        RunStateError, ArtifactError, UnavailableError: its files cannot be read.
    """
    run = read_bids(asked, found)
    charts = [
        run_charts.bid_distribution(run.bids),
        run_charts.coverage(run.bids) if len(run.bids) else None,
        run_charts.calibration(run.metrics.get("calibration") or ()),
        *_multipliers(asked, found),
    ]
    return RunCharts(
        charts=[chart for chart in charts if chart is not None],
        curves=_curves(run),
        reasons=_reasons(run),
        features=[FeatureRow.model_validate(score) for score in run.metrics.get("features") or ()],
    )


def _multipliers(asked: Context, found: OwnedRun) -> list[dict[str, Any] | None]:
    charts = []
    for name, title, weight in (
        (run_files.DOMAINS_CSV, "Domain multipliers", "bids"),
        (run_files.NPIS_CSV, "NPI multipliers", None),
    ):
        table = asked.published.multipliers(found.row, name, store=asked.systems.store)
        charts.append(None if table is None else run_charts.multipliers(table, title=title, weight=weight))
    return charts


def _curves(run: PublishedRun) -> list[LargeSegment]:
    found, landscape = [], run.landscape
    for _, row in run.bids.nlargest(LARGEST, "bids").iterrows():
        key, curve = row["segment_key"], segment_curve(row, landscape, level_sd=run.level_sd)
        chart = run_charts.small_curve(key, curve, served=known(row["suggested_bid_cpm"]))
        found.append(LargeSegment(segment_key=key, text=key_text(key), chart=chart))
    return found


def _reasons(run: PublishedRun) -> list[ReasonShare]:
    grouped = run.bids.groupby("reason")["bids"]
    shares = pd.DataFrame({"segments": grouped.size(), "requests": grouped.sum()})
    total = max(1, int(shares["requests"].sum()))
    meanings = SEGMENT_REASONS if run.settings.win_rate_scope == "segment" else REASONS
    return [
        ReasonShare(
            reason=str(row.Index).replace("_", " "),
            meaning=meanings.get(str(row.Index), ""),
            segments=int(row.segments),
            request_share=float(row.requests / total),
        )
        for row in rows_of(shares.sort_values("requests", ascending=False, kind="stable"))
    ]
