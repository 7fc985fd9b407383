"""One run of the optimizer on a simulated log, without Airflow, control plane and object store."""

from collections.abc import Mapping, Sequence
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
from optimizer.pipeline.pricing import JITTER_SD, Learned, PricedRun, price_run
from optimizer.training.fitting import FittedModels, fit
from optimizer.training.job import TrainingJob
from optimizer.truth.log import CANDIDATES, ExtractedLog


@dataclass(frozen=True, slots=True)
class EarlierRun:
    """What an earlier run published: its key and what it planned before jitter."""

    run_id: str
    features: Sequence[str]
    planned_cpm: Mapping[str, float]


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
        planned = self.priced.bids[self.priced.bids["is_served"]]
        return EarlierRun(
            self.run_id,
            self.selection.features,
            dict(zip(planned["segment_key"], planned["planned_bid_cpm"], strict=True)),
        )


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
        cells = know_planned(cells, run_id=run.run_id, features=run.features, planned_cpm=run.planned_cpm)
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
    previous = earlier[-1].planned_cpm if earlier and earlier[-1].features == selection.features else {}
    if has_logged_active:
        previous = _logged_plan(by_segment, selection.features)
    priced = price_run(learned, settings=settings, previous_bids=previous, run_id=run_id)
    backtest = None
    if previous:
        backtest = backtest_bids(
            by_segment,
            features=selection.features,
            bids=priced.bids,
            report=fitted.report,
            new_jitter_sd=priced.figures["jitter_sd"],
            active_jitter_sd=JITTER_SD["on"],
            fallback_cpm=priced.figures["fallback_bid_cpm"],
            active_fallback_cpm=priced.figures["fallback_bid_cpm"],
            run_id=run_id,
        )
    return TrialRun(run_id, selection, fitted, priced, grouped, backtest)


def _logged_plan(cells: pd.DataFrame, features: Sequence[str]) -> dict[str, float]:
    """The mean planned bid of each segment, CPM, on the log's last day with any."""
    planned = cells[cells["log_planned"].notna()]
    mass = planned["bids"]
    sums = pd.DataFrame({"log": planned["log_planned"] * mass, "bids": mass}).join(planned[list(features)])
    means = sums.groupby(list(features), observed=True).sum()
    keys = (segment_key([None if value == MISSING else value for value in name]) for name in means.index)
    return dict(zip(keys, np.exp(means["log"] / means["bids"]), strict=True))
