"""What a run forecasts for the next days, in numbers and sentences."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from optimizer.control_plane.records import Run
from optimizer.core.pricing.run_comparison import find_figure
from optimizer.core.pricing.target_reach import target_sentence
from optimizer.reporting.forecast import QUANTITIES, forecast_of
from optimizer.reporting.learning import learning_sentence
from optimizer.runs.handle import settings_of


class Number(BaseModel):
    """A figure of the forecast of the next days with its 95 % interval; rates are shares of one, money is in currency
    units, CPM that of a thousand wins.
    """

    name: str
    label: str
    value: float | None
    low: float | None = None
    high: float | None = None
    target: float | None = None


def numbers_of(row: Run, metrics: Mapping[str, Any]) -> list[Number]:
    """Return the forecast of the next days; without metrics.json what the control plane repeats of it."""
    figures: Mapping[str, float | None] = forecast_of(metrics)
    if not figures:
        figures = (row.readiness_figures or {}).get("target", {})
    settings = settings_of(row) if row.config_snapshot else None
    targets = {
        "expected_win_rate": None if settings is None else settings.target_win_rate,
        "expected_margin": None if settings is None else settings.target_margin,
    }
    return [
        Number(
            name=name,
            label=label,
            value=figures.get(name),
            low=figures.get(f"{name}_low"),
            high=figures.get(f"{name}_high"),
            target=targets.get(name),
        )
        for name, (label, _) in QUANTITIES.items()
    ]


def sentences_of(row: Run, metrics: Mapping[str, Any]) -> list[str]:
    """Return what the run is learning, and what limits its target, where there is something to say."""
    known = metrics or row.readiness_figures or {}
    if not row.config_snapshot:
        return []
    found = (learning_sentence(known), target_sentence(known, settings_of(row)))
    return [f"{sentence}." for sentence in found if sentence]


def counts_of(row: Run, metrics: Mapping[str, Any]) -> dict[str, float | int | None]:
    """Return what the run learned from and what it bids, by name."""
    names = ("total_bids", "total_views", "total_clicks", "total_segments", "segments_count", "segments_in_memcache")
    counts = {name: getattr(row, name) for name in (*names, "bid_min", "bid_median", "bid_max")}
    shared = ("shadow_price_cpm", "fallback_bid_cpm", "row_coverage")
    return counts | {name: find_figure(metrics, name) for name in shared}
