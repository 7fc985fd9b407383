"""One run of the optimizer on a simulated log, without Airflow, control plane and object store."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from optimizer.core.backtest import Backtest
from optimizer.core.cells import MISSING, group_cells, know_planned, prepare_cells, unmask
from optimizer.core.features import Selection, SelectionLimits, select_features
from optimizer.core.keys import segment_key
from optimizer.core.settings import RunSettings
from optimizer.core.slope import centre_bids
from optimizer.pipeline.backtesting import backtest_bids
from optimizer.pipeline.earlier_runs import PlannedBids, previous_bids
from optimizer.pipeline.pricing import JITTER_SD, ActiveBids, Learned, PricedRun, price_run
from optimizer.training.fitting import FittedModels, fit
from optimizer.training.job import TrainingJob
from optimizer.truth.log import CANDIDATES, ExtractedLog


@dataclass(frozen=True, slots=True)
class EarlierRun:
    """What an earlier run published."""

    run_id: str
    plan: PlannedBids


@dataclass(frozen=True, slots=True)
class TrialRun:
    """All that a run found and suggests."""

    run_id: str
    selection: Selection
    fitted: FittedModels
    priced: PricedRun
    cells: pd.DataFrame = field(repr=False)
    backtest: Backtest | None = None

    @property
    def as_earlier(self) -> EarlierRun:
        served = self.priced.bids[self.priced.bids["is_served"]]
        planned = dict(zip(served["segment_key"], served["planned_bid_cpm"], strict=True))
        fallback = self.priced.figures["fallback_bid_cpm"]
        return EarlierRun(self.run_id, PlannedBids(self.selection.features, planned, fallback, {}))


def run_trial(
    log: ExtractedLog,
    *,
    settings: RunSettings,
    run_id: str,
    earlier: Sequence[EarlierRun] = (),
    candidates: Sequence[str] = CANDIDATES,
    has_logged_active: bool = False,
    threads: int = 1,
) -> TrialRun:
    """Return the run on this log; the last of the earlier runs is the active one.

    Args:
        has_logged_active: the optimizer of the log counts as an active run that planned what it bid on its last days.
    """
    cells = prepare_cells(log.cells, candidates)
    for run in earlier:
        plan = run.plan
        cells = know_planned(cells, run_id=run.run_id, features=plan.features, planned_cpm=plan.planned_cpm)
    cells = centre_bids(cells, candidates)
    limits = SelectionLimits(
        anchor_feature=settings.anchor_feature,
        max_features=settings.max_features,
        max_segments=settings.max_segments,
        min_segment_bids=settings.min_segment_bids,
        min_evidence_share=settings.min_evidence_share,
    )
    selection = select_features(cells, candidates=candidates, limits=limits)
    job = TrainingJob(
        features=selection.features,
        half_life_days=settings.half_life_days,
        is_second_price=settings.auction_type == "second_price",
        total_views=log.totals.joined_views + log.totals.orphan_views,
        total_clicks=log.totals.joined_clicks + log.totals.orphan_clicks,
        seed=1,
        threads=threads,
    )
    by_segment = group_cells(cells, selection.features)
    grouped = by_segment.assign(**{feature: unmask(by_segment[feature]) for feature in selection.features})
    fitted = fit(job, grouped)
    learned = Learned(
        segments=fitted.segments,
        report=fitted.report,
        features=selection.features,
        domain_cells=log.domain_cells,
        npi_totals=log.npi_totals,
        total_clicks=log.totals.joined_clicks,
    )
    plan = earlier[-1].plan if earlier else None
    if has_logged_active:
        plan = _logged_plan(by_segment, selection.features)
    active = None
    if plan is not None:
        active = ActiveBids(previous_bids(plan, cells, selection.features), plan.fallback_cpm)
    priced = price_run(learned, settings=settings, active=active, run_id=run_id)
    backtest = None
    if active is not None:
        backtest = backtest_bids(
            by_segment,
            features=selection.features,
            bids=priced.bids,
            report=fitted.report,
            new_jitter_sd=priced.figures["jitter_sd"],
            active_jitter_sd=JITTER_SD["on"],
            fallback_cpm=priced.figures["fallback_bid_cpm"],
            active_fallback_cpm=active.fallback_cpm,
            run_id=run_id,
        )
    return TrialRun(run_id, selection, fitted, priced, grouped, backtest)


def _logged_plan(cells: pd.DataFrame, features: Sequence[str]) -> PlannedBids:
    """The mean planned bid of each segment, as if one run had bid the log's jittered days."""
    planned = cells[cells["log_planned"].notna()]
    mass = planned["bids"]
    sums = pd.DataFrame({"log": planned["log_planned"] * mass, "bids": mass}).join(planned[list(features)])
    means = sums.groupby(list(features), observed=True).sum()
    keys = (segment_key([None if value == MISSING else value for value in name]) for name in means.index)
    fallback = float(np.exp(means["log"].sum() / means["bids"].sum()))
    return PlannedBids(
        tuple(features), dict(zip(keys, np.exp(means["log"] / means["bids"]), strict=True)), fallback, {}
    )
