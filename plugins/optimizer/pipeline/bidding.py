"""compute_bids: from win-rate curves and click rates to bids and multipliers."""

import io
from typing import Any

import numpy as np
import pandas as pd

from optimizer.artifacts.manifest import read_manifest, read_verified
from optimizer.control_plane import runs
from optimizer.core.bidding import BidPlan, BidPolicy, plan_bids
from optimizer.core.keys import segment_key
from optimizer.core.landscape import Landscape
from optimizer.core.multipliers import domain_multipliers, npi_multipliers
from optimizer.core.settings import RunSettings
from optimizer.errors import ArtifactError
from optimizer.pipeline import staging
from optimizer.pipeline.run import RunHandle, read_settings, read_snapshot
from optimizer.pipeline.systems import Systems
from optimizer.training.job import TrainingReport

MIN_CLICKS_FOR_VALUE = 30
"""Below this many clicks the value of a segment is not trusted to bound bids."""

MAX_LEVEL_ERROR = 0.5
"""A segment is served where the standard error of its level, in logit units, is at most this."""

JITTER_SD = {"off": 0.02, "on": 0.10, "aggressive": 0.15}
TRUST_WIDENING = {"on": 0.25, "aggressive": 0.50}
AGGRESSIVE_STEP_FACTOR = 2.0


def compute_bids(run: RunHandle, *, systems: Systems) -> dict[str, Any]:
    """Leave bids, multipliers and their figures in the staging prefix; return the headline figures."""
    snapshot = read_snapshot(run, systems)
    settings, stage = read_settings(snapshot), run.staging(systems)
    report = TrainingReport.model_validate(stage.get_json(staging.TRAINING))
    features = stage.get_json(staging.SELECTION)["features"]
    totals = stage.get_json(staging.TOTALS)
    segments = _valued_segments(stage.get_frame(staging.SEGMENTS), features, report)
    policy = bid_policy(settings, report, total_clicks=totals["joined_clicks"])
    previous, problem = _previous_bids(snapshot["inputs"]["active_run_id"], systems)
    landscape = Landscape(report.reference_cpm, report.slope)
    plan = plan_bids(segments, landscape=landscape, policy=policy, previous_bids=previous, seed=run.run_id)
    bids = _bid_table(pd.concat([segments, plan.table], axis=1), features, landscape, settings)
    stage.put_frame(staging.BIDS, bids)
    multipliers = _stage_multipliers(stage, totals["files"], settings, report)
    figures = _figures(bids, plan, policy, previous) | multipliers | {"active_run_problem": problem}
    stage.put_json(staging.BID_FIGURES, figures)
    return {"segments_count": figures["segments_count"], "bid_median": figures["bid_median"]}


def bid_policy(settings: RunSettings, report: TrainingReport, *, total_clicks: int) -> BidPolicy:
    """Return what bounds the bids of a run with these settings."""
    mode = "aggressive" if settings.aggressive_exploration else "on"
    widening = 0.0 if report.is_slope_naive else TRUST_WIDENING[mode]
    is_paid_per_view = report.value_per_mille_views > 0
    return BidPolicy(
        target_win_rate=settings.target_win_rate,
        win_rate_scope=settings.win_rate_scope,
        target_margin=settings.target_margin,
        max_bid_cpm=settings.max_bid_cpm,
        floor_available=settings.floor_available,
        trust_low_cpm=report.served_bid_low_cpm * (1 - widening),
        trust_high_cpm=report.served_bid_high_cpm * (1 + widening),
        jitter_sd=JITTER_SD[mode if settings.exploration_mode else "off"],
        step_limit=settings.daily_step_limit * (AGGRESSIVE_STEP_FACTOR if settings.aggressive_exploration else 1.0),
        is_value_trusted=is_paid_per_view or total_clicks >= MIN_CLICKS_FOR_VALUE,
        is_second_price=settings.auction_type == "second_price",
    )


def _valued_segments(segments: pd.DataFrame, features: list[str], report: TrainingReport) -> pd.DataFrame:
    values = segments[features].astype("object").where(segments[features].notna(), None)
    value_cpm = 1000 * segments["click_rate"] * report.value_per_click + report.value_per_mille_views
    return segments.assign(
        segment_key=[segment_key(row) for row in values.itertuples(index=False, name=None)],
        value_cpm=np.where(value_cpm > 0, value_cpm, np.nan),
    )


def _previous_bids(active_run_id: str | None, systems: Systems) -> tuple[dict[str, float], str | None]:
    """The active run's planned bids by key, and why they cannot be read; nothing of both before there is such a run."""
    output_uri = runs.read_run(systems.engine, active_run_id).s3_output_path if active_run_id else None
    if output_uri is None:
        return {}, None
    try:
        manifest = read_manifest(systems.store, output_uri)
        content = read_verified(systems.store, output_uri=output_uri, manifest=manifest, name="suggested_bids.csv")
        table = pd.read_csv(io.BytesIO(content), usecols=["segment_key", "planned_bid_cpm"], keep_default_na=False)
        return dict(zip(table["segment_key"], table["planned_bid_cpm"].astype(float), strict=True)), None
    except (ArtifactError, ValueError) as error:
        return {}, f"the bids of the active run {active_run_id} cannot be read: {error}"


def _bid_table(table: pd.DataFrame, features: list[str], landscape: Landscape, settings: RunSettings) -> pd.DataFrame:
    is_known = table[features].notna().all(axis=1)
    has_evidence = (table["effective_bids"] >= settings.min_segment_bids) & (table["level_error"] <= MAX_LEVEL_ERROR)
    return table.assign(
        is_served=is_known & has_evidence & table["suggested_bid_cpm"].notna(),
        observed_win_rate=table["wins"] / table["bids"],
        modelled_win_rate=landscape.win_rate(table["level"], table["bid_cpm_sum"] / table["bids"]),
        observed_ctr=(table["clicks"] / table["wins"]).where(table["wins"] > 0),
    )


def _stage_multipliers(
    stage: staging.Staging, files: dict[str, str], settings: RunSettings, report: TrainingReport
) -> dict[str, int]:
    counts = {"domains_count": 0, "npis_count": 0}
    if settings.domain_enabled:
        domains = domain_multipliers(stage.get_frame(files[staging.DOMAIN_CELLS]), slope=report.slope)
        stage.put_frame(staging.DOMAINS, domains)
        counts["domains_count"] = len(domains)
    if settings.npi_enabled:
        npis = npi_multipliers(stage.get_frame(files[staging.NPI_TOTALS]))
        stage.put_frame(staging.NPIS, npis)
        counts["npis_count"] = len(npis)
    return counts


def _figures(bids: pd.DataFrame, plan: BidPlan, policy: BidPolicy, previous: dict[str, float]) -> dict[str, Any]:
    biddable = bids[bids["suggested_bid_cpm"].notna()]
    suggested = biddable["suggested_bid_cpm"]
    known = biddable["segment_key"].map(previous).astype(float)
    step = (biddable["planned_bid_cpm"] / known - 1).abs()
    bound_by_step = step[~biddable["reason"].isin(["margin", "cap", "floor"])]
    return {
        "total_segments": len(bids),
        "segments_count": len(biddable),
        "segments_in_memcache": int(bids["is_served"].sum()),
        "row_coverage": float(bids.loc[bids["is_served"], "bids"].sum() / bids["bids"].sum()),
        "bid_median": float(suggested.median()) if len(suggested) else None,
        "bid_min": float(suggested.min()) if len(suggested) else None,
        "bid_max": float(suggested.max()) if len(suggested) else None,
        "win_price_cpm": plan.win_price_cpm,
        "fallback_bid_cpm": plan.fallback_bid_cpm,
        "expected_win_rate": plan.expected_win_rate,
        "expected_cpm": plan.expected_cpm,
        "trust_low_cpm": policy.trust_low_cpm,
        "trust_high_cpm": policy.trust_high_cpm,
        "jitter_sd": policy.jitter_sd,
        "step_limit": policy.step_limit,
        "largest_step": float(bound_by_step.max()) if bound_by_step.notna().any() else 0.0,
        "compared_segments": int(known.notna().sum()),
        "is_value_trusted": policy.is_value_trusted,
        "reasons": {reason: int(count) for reason, count in bids["reason"].value_counts().sort_index().items()},
    }
