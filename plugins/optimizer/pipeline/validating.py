"""validate: the checks between a run's bids and live traffic."""

import math
import statistics
from datetime import datetime
from typing import Any

import pandas as pd

from optimizer.core.bidding import CENT, LEAST_JITTER_SD
from optimizer.core.settings import RunSettings
from optimizer.core.validation import Check, Verdict, judge
from optimizer.pipeline import staging
from optimizer.pipeline.cell_run import MAX_ORPHAN_VIEW_SHARE, orphan_view_share
from optimizer.pipeline.run import RunHandle, read_settings, read_snapshot
from optimizer.pipeline.systems import Systems
from optimizer.training.job import TrainingReport

MIN_JOIN_RATE = 0.001
MIN_WIN_RATE_SHARE = 0.9
MAX_BOUND_SHARE = 0.5
MIN_JITTER_SHARE = 0.25
LATEST_DAYS_CHECKED = 3
MIN_COVERAGE_SHARE = 0.8
MAX_STABILITY_INDEX = 0.25
MAX_KEY_COUNT_CHANGE = 0.5
MEMCACHED_KEY_BYTES = 250


def validate(run: RunHandle, *, systems: Systems) -> dict[str, Any]:
    """Leave the verdict in the staging prefix and return whether it passed. A run that fails keeps its outputs."""
    snapshot = read_snapshot(run, systems)
    settings, stage = read_settings(snapshot), run.staging(systems)
    report = TrainingReport.model_validate(stage.get_json(staging.TRAINING))
    figures, bids = stage.get_json(staging.BID_FIGURES), stage.get_frame(staging.BIDS)
    verdict = judge(
        [
            *_data_checks(stage.get_json(staging.TOTALS), snapshot["inputs"], settings),
            *_model_checks(report, settings),
            *_bid_checks(bids, figures, settings),
            *_backtest_checks(stage.get_json(staging.BACKTEST), snapshot["inputs"], settings),
        ]
    )
    stage.put_json(staging.VALIDATION, _verdict_record(verdict))
    return {"is_passed": verdict.is_passed, "failures": verdict.failures, "warnings": verdict.warnings}


def _data_checks(totals: dict[str, Any], inputs: dict[str, Any], settings: RunSettings) -> list[Check]:
    newest, end = pd.Timestamp(totals["last_bid_ts"], tz="UTC"), datetime.fromisoformat(inputs["data_end_dt"])
    age_days = (pd.Timestamp(end) - newest) / pd.Timedelta(days=1)
    recent = inputs["recent_bids_per_day"]
    days = (datetime.fromisoformat(inputs["data_end_dt"]) - datetime.fromisoformat(inputs["data_start_dt"])).days
    volume = totals["usable_bids"] / max(1, days) / statistics.median(recent) if recent else None
    return [
        *_if_known(
            "bid_volume_share",
            "hard",
            volume,
            ">=",
            settings.min_volume_share,
            "the log has far fewer bids a day than those of recent runs; wait for the load of BIDS, or lower "
            "min_volume_share",
        ),
        Check(
            "join_rate",
            "hard",
            totals["joined_views"] / totals["usable_bids"],
            ">=",
            MIN_JOIN_RATE,
            "hardly any view joins a bid; check that VIEWS is loaded and carries the bid_id of BIDS",
        ),
        *_latest_day_checks(totals["days"], settings),
        Check(
            "data_age_days",
            "hard",
            age_days,
            "<=",
            settings.max_data_age_days,
            "the log ends too early; wait for the load of BIDS or raise max_data_age_days",
        ),
        Check(
            "duplicate_bid_share",
            "soft",
            totals["duplicate_bids"] / totals["bid_rows"],
            "<=",
            0.01,
            "BIDS holds the same bid_id more than once; check its load",
        ),
        Check(
            "orphan_view_share",
            "soft",
            orphan_view_share(totals),
            "<=",
            MAX_ORPHAN_VIEW_SHARE,
            "views without a bid are too many to count for the click rate; check the loads of BIDS and VIEWS",
        ),
    ]


def _latest_day_checks(days: list[dict[str, Any]], settings: RunSettings) -> list[Check]:
    """The latest days beside the earlier ones: a load that is missing in part changes bids long before it is seen."""
    latest, earlier = days[-LATEST_DAYS_CHECKED:], days[:-LATEST_DAYS_CHECKED]
    if len(earlier) < LATEST_DAYS_CHECKED:
        return []
    bids = statistics.median(day["bids"] for day in earlier)
    win_rate = statistics.median(day["wins"] / day["bids"] for day in earlier)
    checks = [
        Check(
            "latest_bids_share",
            "hard",
            min(day["bids"] for day in latest) / bids,
            ">=",
            settings.min_volume_share,
            "one of the latest days has far fewer bids than those before; wait for the load of BIDS, or lower "
            "min_volume_share",
        )
    ]
    return checks + _if_known(
        "latest_win_rate_share",
        "hard",
        _ratio(min(day["wins"] / day["bids"] for day in latest), win_rate),
        ">=",
        settings.min_volume_share,
        "one of the latest days has far fewer views a bid than those before; wait for the load of VIEWS, or lower "
        "min_volume_share",
    )


def _model_checks(report: TrainingReport, settings: RunSettings) -> list[Check]:
    checks = [
        Check(
            "largest_fall",
            "hard",
            report.largest_fall,
            "<=",
            1e-9,
            "the modelled win rate falls as the bid rises; do not use this model",
        ),
        Check(
            "calibration_error",
            "hard",
            report.wr_model_ece,
            "<=",
            settings.max_calibration_error,
            "predicted and observed win rates differ on the latest days; look for a market change",
        ),
    ]
    if report.ctr_model_auc is not None:
        lower = report.ctr_model_auc - 1.96 * (report.ctr_model_auc_error or 0.0)
        checks.append(
            Check(
                "ctr_auc_lower",
                "soft",
                lower,
                ">=",
                0.5,
                "the click model tells nothing yet; shrunk rates are used instead",
            )
        )
    return checks


def _bid_checks(bids: pd.DataFrame, figures: dict[str, Any], settings: RunSettings) -> list[Check]:
    suggested = bids["suggested_bid_cpm"]
    biddable = bids[suggested.notna()]
    outside = (
        (biddable["suggested_bid_cpm"] < CENT) | (biddable["suggested_bid_cpm"] > settings.max_bid_cpm + 1e-9)
    ).sum()
    keys = bids.loc[bids["is_served"], "segment_key"]
    bound = biddable["reason"].isin(["cap", "floor"]).sum() / max(1, len(biddable))
    problem = figures["active_run_problem"]
    return [
        Check(
            "incomparable_active_runs",
            "hard" if settings.require_comparison else "soft",
            0 if problem is None else 1,
            "<=",
            0,
            f"{problem}; the daily step cannot be kept: deploy another run and run again, or set "
            "require_comparison=false for one run",
        ),
        Check(
            "bids_count",
            "hard",
            len(biddable),
            ">=",
            1,
            "no segment can be bid on; compare floors, max_bid_cpm, target_margin",
        ),
        Check(
            "bids_outside_bounds", "hard", int(outside), "<=", 0, "bids leave [0.01, max_bid_cpm]; do not use this run"
        ),
        Check(
            "duplicate_keys", "hard", int(bids["segment_key"].duplicated().sum()), "<=", 0, "two segments share a key"
        ),
        Check(
            "longest_key_bytes",
            "hard",
            int(keys.str.len().max()) if len(keys) else 0,
            "<=",
            MEMCACHED_KEY_BYTES,
            "memcached refuses longer keys; drop a feature with long values",
        ),
        Check(
            "row_coverage",
            "hard",
            figures["row_coverage"],
            ">=",
            settings.min_row_coverage,
            "too few bids would find their key; lower min_segment_bids or max_features, or lengthen lookback_days",
        ),
        Check(
            "largest_step",
            "hard",
            figures["largest_step"],
            "<=",
            figures["step_limit"] + 1e-9,
            "a bid moves further against the active run than daily_step_limit allows",
        ),
        *_if_known(
            "row_coverage_share_of_active",
            "hard",
            _ratio(figures["row_coverage"], figures["active_row_coverage"]),
            ">=",
            MIN_COVERAGE_SHARE,
            "far fewer bids would find their key than with the active run; compare the features of both runs",
        ),
        *_if_known(
            "spend_change",
            "hard",
            None if (change := figures["expected_spend_change"]) is None else abs(change),
            "<=",
            settings.max_spend_change,
            "the predicted spend differs too much from that of the active run's bids; look at the largest changes in "
            "report.html, or raise max_spend_change",
        ),
        *_if_known(
            "bid_stability_index",
            "soft",
            figures["bid_stability_index"],
            "<=",
            MAX_STABILITY_INDEX,
            "the distribution of bids moved far from the active run's",
        ),
        *_if_known(
            "key_count_change",
            "soft",
            None if (kept := _ratio(len(keys), figures["active_segments_in_memcache"])) is None else abs(kept - 1),
            "<=",
            MAX_KEY_COUNT_CHANGE,
            "the number of served keys changed much against the active run",
        ),
        Check(
            "jitter_spread",
            "hard",
            figures["jitter_spread"],
            ">=",
            MIN_JITTER_SHARE * LEAST_JITTER_SD,
            "the suggested bids hardly vary around the planned ones (a cap, or cents that are too coarse?), so that "
            "tomorrow's run cannot learn from them",
        ),
        Check(
            "expected_win_rate",
            "soft",
            figures["expected_win_rate"],
            ">=",
            MIN_WIN_RATE_SHARE * settings.target_win_rate,
            "the target is out of reach within margin, cap, trust band and step; see the reasons of the bids",
        ),
        Check(
            "share_at_cap_or_floor",
            "soft",
            float(bound),
            "<=",
            MAX_BOUND_SHARE,
            "most bids sit at the cap or the floor",
        ),
    ]


def _backtest_checks(backtest: dict[str, Any] | None, inputs: dict[str, Any], settings: RunSettings) -> list[Check]:
    if inputs["active_run_id"] is None:
        return []
    backtest = backtest or {"is_supported": False, "reason": "no backtest was made (second price, or another key)"}
    supported = Check(
        "backtest_supported",
        "soft",
        int(backtest["is_supported"]),
        ">=",
        1,
        f"the log does not tell what these bids would have brought: {backtest['reason']}",
    )
    if not backtest["is_supported"]:
        return [supported]
    rows = {row["quantity"]: row for row in backtest["rows"]}
    won, cpm, surplus = rows["win_rate"], rows["cpm"], rows["surplus"]
    wins_no_more = won["difference_high"] <= 0
    return [
        supported,
        Check(
            "backtest_win_rate_high",
            "hard",
            won["new_high"],
            ">=",
            MIN_WIN_RATE_SHARE * min(settings.target_win_rate, won["active"]),
            "on the last days these bids would have won less than asked and than the active run's; do not use this run",
        ),
        *_if_known(
            "backtest_cpm_rise_low",
            "hard",
            cpm["difference_low"] / cpm["active"] if wins_no_more else None,
            "<=",
            0.0,
            "on the last days these bids would have paid more for a win and won no more; do not use this run",
        ),
        *_if_known(
            "backtest_surplus_difference_high",
            "soft",
            surplus["difference_high"],
            ">=",
            0.0,
            "on the last days these bids would have earned less than the active run's; look at the price of a win",
        ),
    ]


def _if_known(
    name: str, severity: str, figure: float | None, relation: str, limit: float, next_step: str
) -> list[Check]:
    """The check, where there is something to compare with."""
    return [] if figure is None else [Check(name, severity, figure, relation, limit, next_step)]


def _ratio(new: float, old: float | None) -> float | None:
    return new / old if old else None


def _verdict_record(verdict: Verdict) -> dict[str, Any]:
    return {
        "is_passed": verdict.is_passed,
        "failures": verdict.failures,
        "warnings": verdict.warnings,
        "checks": [
            {
                "name": check.name,
                "severity": check.severity,
                "figure": None if math.isnan(check.figure) else float(check.figure),
                "relation": check.relation,
                "limit": float(check.limit),
                "is_passed": check.is_passed,
            }
            for check in verdict.checks
        ],
    }
