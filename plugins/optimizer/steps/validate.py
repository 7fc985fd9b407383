"""validate: the checks between a run's bids and live traffic."""

import logging
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from optimizer.core.checks.backtest import backtest_checks
from optimizer.core.checks.bids import bid_checks
from optimizer.core.checks.data import data_checks
from optimizer.core.checks.measures import BidMeasures, measure_bids
from optimizer.core.checks.model import model_checks, outcome_check
from optimizer.core.checks.multipliers import multiplier_checks
from optimizer.core.checks.outcome import Check, Verdict, going_live, judge
from optimizer.core.checks.tables import StagedTables, table_checks
from optimizer.core.checks.units import unit_checks
from optimizer.core.checks.volume import volume_checks
from optimizer.core.config.settings import RunSettings
from optimizer.core.landscape.curves import Landscape
from optimizer.core.pricing.multipliers import DOMAIN_BOUNDS, NPI_BOUNDS
from optimizer.core.pricing.target_reach import TargetReach, measure_reach
from optimizer.reporting.learning import learning_sentence
from optimizer.runs import staging
from optimizer.runs.handle import RunHandle, read_settings, read_snapshot
from optimizer.runs.identification import IDENTIFICATION
from optimizer.runs.report_inputs import landscape_of
from optimizer.runs.systems import Systems
from optimizer.training.job import CLICK_MODEL_FILE, WIN_MODEL_FILE, TrainingReport

log = logging.getLogger(__name__)

PUBLISHED = (
    staging.TOTALS,
    staging.SELECTION,
    staging.TRAINING,
    staging.TRACKING,
    staging.BIDS,
    staging.DOMAINS,
    staging.NPIS,
    staging.BID_FIGURES,
    staging.BACKTEST,
    WIN_MODEL_FILE,
    CLICK_MODEL_FILE,
)
"""Staged files that the run's objects are written from: upload publishes them only as they were validated."""


def validate(run: RunHandle, *, systems: Systems) -> dict[str, Any]:
    """Leave the verdict in the staging prefix and return the outcome. A run that fails keeps its outputs."""
    snapshot = read_snapshot(run, systems)
    found = _Staged.read(run.staging(systems), snapshot)
    verdict = judge(
        [
            *data_checks(found.totals, snapshot["inputs"], found.settings),
            *unit_checks(found.cells, by=found.features[0], settings=found.settings),
            outcome_check(found.cells, found.totals["candidate_features"], selected=found.features),
            *model_checks(found.training, found.settings),
            *found.bid_checks(),
            *found.backtest_checks(has_active_run=snapshot["inputs"]["active_run_id"] is not None),
        ]
    )
    run.staging(systems).put_json(staging.VALIDATION, _verdict_record(verdict) | found.record())
    learning = learning_sentence({IDENTIFICATION: found.figures.get(IDENTIFICATION, {}), "bidding": found.figures})
    _log(run, verdict, (learning, found.reach.sentence(found.settings)))
    return {
        "is_passed": verdict.is_passed,
        "outcome": verdict.outcome,
        "going_live": _going_live(verdict),
        "learning": learning,
        "target": found.reach.sentence(found.settings),
        "failures": verdict.failures,
        "warnings": verdict.warnings,
    }


@dataclass(frozen=True, slots=True)
class _Staged:
    """What the earlier steps left, read as of `checksums`, and what is measured from it."""

    checksums: dict[str, str]
    settings: RunSettings
    totals: dict[str, Any]
    features: list[str]
    training: dict[str, Any]
    figures: dict[str, Any]
    backtest: dict[str, Any] | None
    cells: pd.DataFrame
    segments: pd.DataFrame
    bids: pd.DataFrame
    domains: pd.DataFrame | None
    npis: pd.DataFrame | None
    measured: BidMeasures
    reach: TargetReach

    @classmethod
    def read(cls, stage: staging.Staging, snapshot: dict[str, Any]) -> "_Staged":
        checksums = stage.checksums_of(PUBLISHED)
        stage, settings = stage.pinned(checksums), read_settings(snapshot)
        totals, training, figures = (
            stage.get_json(name) for name in (staging.TOTALS, staging.TRAINING, staging.BID_FIGURES)
        )
        bids = stage.get_frame(staging.BIDS)
        landscape = landscape_of(TrainingReport.model_validate(training), figures)
        measured = measure_bids(
            bids,
            landscape=landscape,
            is_second_price=settings.auction_type == "second_price",
            step_limit=figures["step_limit"],
        )
        return cls(
            checksums=checksums,
            settings=settings,
            totals=totals,
            features=stage.get_json(staging.SELECTION)["features"],
            training=training,
            figures=figures,
            backtest=stage.get_json(staging.BACKTEST),
            cells=stage.get_frame(totals["files"][staging.SEGMENT_CELLS]),
            segments=stage.get_frame(staging.SEGMENTS),
            bids=bids,
            domains=stage.get_frame(staging.DOMAINS) if settings.domain_enabled else None,
            npis=stage.get_frame(staging.NPIS) if settings.npi_enabled else None,
            measured=measured,
            reach=_reach(bids, measured, figures, landscape, settings),
        )

    def bid_checks(self) -> list[Check]:
        """The checks of the tables that will be published."""
        noted = self.figures["checksums"]
        tables = StagedTables(
            bids=self.bids,
            segments=self.segments,
            features=self.features,
            noted=self.figures,
            changed=[name for name, sha256 in noted.items() if self.checksums.get(name) != sha256],
        )
        multipliers = {"domain": (self.domains, DOMAIN_BOUNDS), "npi": (self.npis, NPI_BOUNDS)}
        published = {key: (table, bounds) for key, (table, bounds) in multipliers.items() if table is not None}
        return [
            *table_checks(tables, self.measured),
            *multiplier_checks(published),
            *volume_checks(self.measured, figures=self.figures, cells=self.cells, settings=self.settings),
            *bid_checks(self.bids, self.measured, figures=self.figures, reach=self.reach, settings=self.settings),
        ]

    def backtest_checks(self, *, has_active_run: bool) -> list[Check]:
        """The checks against the active run on the log's last days; none without one."""
        if not has_active_run:
            return []
        move = max(abs(self.measured.spend_change or 0.0), self.measured.mean_move or 0.0)
        return backtest_checks(self.backtest, move=move, settings=self.settings)

    def record(self) -> dict[str, Any]:
        """What validation.json has in addition to the checks."""
        return {
            "checksums": self.checksums,
            "target": {
                "target_win_rate": self.reach.target_win_rate,
                "expected_win_rate": self.reach.expected_win_rate,
                "reachable_win_rate": self.reach.reachable_win_rate,
                **{f"share_{reason}": share for reason, share in self.reach.limiting_shares.items()},
            },
            "target_sentence": self.reach.sentence(self.settings),
        }


def _reach(
    bids: pd.DataFrame, measured: BidMeasures, figures: dict[str, Any], landscape: Landscape, settings: RunSettings
) -> TargetReach:
    """How far the target is reached; what compute_bids noted of it comes first."""
    own = measure_reach(
        bids,
        landscape=landscape,
        settings=settings,
        value_trust=figures["value_trust"],
        expected_win_rate=measured.win_rate,
    )
    noted = {name: figures[name] for name in ("reachable_win_rate", "limiting_shares") if figures.get(name) is not None}
    return replace(own, **noted)


def _going_live(verdict: Verdict) -> str:
    status = "passed" if verdict.is_passed else "failed"
    return going_live(status, len(verdict.warnings), holds=verdict.holds)


def _log(run: RunHandle, verdict: Verdict, sentences: Iterable[str | None]) -> None:
    """Say the outcome in the task's log, what matters most first."""
    name = f"run {run.run_id} of {run.entity_code}"
    for sentence in filter(None, sentences):
        log.warning("%s: %s", name, sentence)
    log.log(
        logging.INFO if verdict.is_passed else logging.ERROR,
        "%s: validation %s. %s",
        name,
        verdict.outcome,
        _going_live(verdict),
    )
    for message in verdict.failures:
        log.error("%s: %s", name, message)
    for message in verdict.warnings:
        log.warning("%s: %s", name, message)


def _verdict_record(verdict: Verdict) -> dict[str, Any]:
    return {
        "is_passed": verdict.is_passed,
        "outcome": verdict.outcome,
        "failures": verdict.failures,
        "warnings": verdict.warnings,
        "holds": verdict.holds,
        "checks": [
            {
                "name": check.name,
                "severity": check.severity,
                "figure": float(check.figure) if math.isfinite(check.figure) else None,
                "relation": check.relation,
                "limit": float(check.limit),
                "is_passed": check.is_passed,
                "verdict": check.verdict,
                "message": "" if check.is_passed else f"{check.problem}; {check.next_step}",
            }
            for check in verdict.checks
        ],
    }
