"""validate: the checks between a run's bids and live traffic."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from optimizer.core.checks.backtest import backtest_checks
from optimizer.core.checks.bids import bid_checks
from optimizer.core.checks.data import LogWindow, coarse_checks, data_checks
from optimizer.core.checks.measures import BidMeasures, measure_bids
from optimizer.core.checks.model import model_checks, outcome_check
from optimizer.core.checks.multipliers import multiplier_checks
from optimizer.core.checks.outcome import Check, Verdict, going_live, judge
from optimizer.core.checks.tables import StagedTables, table_checks
from optimizer.core.checks.units import unit_checks
from optimizer.core.checks.volume import volume_checks
from optimizer.core.config.settings import RunSettings
from optimizer.core.pricing.backtest import Backtest
from optimizer.core.pricing.multipliers import DOMAIN_BOUNDS, NPI_BOUNDS
from optimizer.core.pricing.target_reach import TargetReach, measure_reach
from optimizer.core.records import run_files
from optimizer.core.records.bid_figures import BidFigures
from optimizer.core.records.config_snapshot import RunInputs
from optimizer.core.records.validation import Validation
from optimizer.core.records.window_totals import StagedLog
from optimizer.reporting.learning import learning_sentence
from optimizer.runs import artifacts, staging
from optimizer.runs.handle import RunHandle, read_snapshot
from optimizer.runs.systems import Systems
from optimizer.training.job import TrainingReport

log = logging.getLogger(__name__)

PUBLISHED = (
    run_files.TOTALS,
    run_files.SELECTION,
    run_files.TRAINING,
    run_files.TRACKING,
    run_files.BIDS,
    run_files.DOMAINS,
    run_files.NPIS,
    run_files.BID_FIGURES,
    run_files.BACKTEST,
    run_files.WIN_MODEL,
    run_files.CLICK_MODEL,
    *run_files.PRICING_FILES,
)
"""Staged files that the run's objects are written from: upload publishes them only as they were validated."""


def validate(run: RunHandle, *, systems: Systems) -> dict[str, Any]:
    """Leave the verdict in the staging prefix and return the outcome. A run that fails keeps its outputs."""
    snapshot = read_snapshot(run, systems)
    found = _Staged.read(run.staging(systems), snapshot.settings)
    verdict = judge(
        [
            *data_checks(found.totals, _window(snapshot.inputs, found.totals), found.settings),
            *coarse_checks(found.totals.coarse),
            *unit_checks(found.cells, by=found.features[0], settings=found.settings),
            outcome_check(found.cells, found.totals.candidate_features, selected=found.features),
            *model_checks(found.training, found.settings),
            *found.bid_checks(),
            *found.backtest_checks(has_active_run=snapshot.inputs.active_run_id is not None),
        ]
    )
    target = found.reach.sentence(found.settings)
    validation = Validation.of(verdict, checksums=found.checksums, reach=found.reach, target_sentence=target)
    artifacts.VALIDATION.write(run.staging(systems), validation)
    learning = learning_sentence(found.figures.learning_metrics)
    _log(run, verdict, (learning, target))
    return {
        "is_passed": verdict.is_passed,
        "outcome": verdict.outcome,
        "going_live": _going_live(verdict),
        "learning": learning,
        "target": target,
        "failures": verdict.failures,
        "warnings": verdict.warnings,
    }


@dataclass(frozen=True, slots=True)
class _Staged:
    """What the earlier steps left, read as of `checksums`, and what is measured from it."""

    checksums: dict[str, str]
    settings: RunSettings
    totals: StagedLog
    features: tuple[str, ...]
    training: TrainingReport
    figures: BidFigures
    backtest: Backtest | None
    cells: pd.DataFrame
    segments: pd.DataFrame
    bids: pd.DataFrame
    domains: pd.DataFrame | None
    npis: pd.DataFrame | None
    measured: BidMeasures
    reach: TargetReach

    @classmethod
    def read(cls, stage: staging.Staging, settings: RunSettings) -> "_Staged":
        checksums = stage.checksums_of(PUBLISHED)
        stage = stage.pinned(checksums)
        totals = artifacts.TOTALS.read(stage)
        training, figures = artifacts.TRAINING.read(stage), artifacts.BID_FIGURES.read(stage)
        bids = stage.get_frame(run_files.BIDS)
        landscape = figures.link.landscape(training.reference_cpm)
        measured = measure_bids(
            bids,
            landscape=landscape,
            is_second_price=settings.auction_type == "second_price",
            step_limit=figures.step_limit,
        )
        return cls(
            checksums=checksums,
            settings=settings,
            totals=totals,
            features=artifacts.SELECTION.read(stage).features,
            training=training,
            figures=figures,
            backtest=artifacts.BACKTEST.read(stage),
            cells=stage.get_frame(totals.files[run_files.SEGMENT_CELLS]),
            segments=stage.get_frame(run_files.SEGMENTS),
            bids=bids,
            domains=stage.get_frame(run_files.DOMAINS) if settings.domain_enabled else None,
            npis=stage.get_frame(run_files.NPIS) if settings.npi_enabled else None,
            measured=measured,
            reach=measure_reach(
                bids,
                landscape=landscape,
                settings=settings,
                value_trust=figures.value_trust,
                expected_win_rate=measured.win_rate,
            ),
        )

    def bid_checks(self) -> list[Check]:
        """The checks of the tables that will be published."""
        noted = self.figures.checksums
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


def _window(inputs: RunInputs, totals: StagedLog) -> LogWindow:
    return LogWindow(inputs.data_start_dt, inputs.data_end_dt, totals.days, inputs.recent_bids_per_day)


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
