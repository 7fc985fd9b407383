"""One run of the optimizer on a simulated log, without Airflow, control plane and object store."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lab.evaluation.log import CANDIDATES, ExtractedLog
from optimizer.core.config.settings import RunSettings
from optimizer.core.landscape.cells import MISSING, group_cells, know_planned, prepare_cells
from optimizer.core.landscape.click_delay import count_click_views
from optimizer.core.landscape.features import Selection
from optimizer.core.landscape.hidden_floors import find_floors_by
from optimizer.core.landscape.jitter import Variation, learn_variation
from optimizer.core.pricing.backtest import Backtest
from optimizer.core.records.earlier_run import EarlierFigures
from optimizer.core.serving.keys import segment_key
from optimizer.runs.cell_run import EarlierRuns, Trainer, WindowFacts, run_on_cells
from optimizer.runs.planned_bids import PlannedBids, kept_bids
from optimizer.runs.pricing import Priceable, PricedRun
from optimizer.training.fitting import fit
from optimizer.training.job import TrainingJob, TrainingReport


@dataclass(frozen=True, slots=True)
class EarlierRun:
    """What an earlier run published."""

    run_id: str
    plan: PlannedBids


@dataclass(frozen=True, slots=True)
class TrialRun:
    """All that a run found and suggests.

    priceable: what it was priced from, for other settings.
    """

    run_id: str
    selection: Selection
    report: TrainingReport
    priced: PricedRun
    backtest: Backtest | None = None
    variation: Variation | None = None
    priceable: Priceable | None = None

    @property
    def as_earlier(self) -> EarlierRun:
        served = self.priced.bids[self.priced.bids["is_served"]]
        planned, suggested = (
            dict(zip(served["segment_key"], served[column], strict=True))
            for column in ("planned_bid_cpm", "suggested_bid_cpm")
        )
        figures = EarlierFigures.model_validate(self.priced.figures.model_dump())
        fallback = self.priced.figures.fallback_bid_cpm
        plan = PlannedBids(self.selection.features, planned, fallback, figures, suggested, kept_bids(served))
        return EarlierRun(self.run_id, plan)


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
    cells = prepare_cells(count_click_views(log.cells, log.click_maturity), candidates)
    for run in earlier:
        plan = run.plan
        cells = know_planned(cells, run_id=run.run_id, features=plan.features, planned_cpm=plan.planned_cpm)

    def find_plan(features: Sequence[str]) -> PlannedBids | None:
        if has_logged_active:
            varied, _ = learn_variation(
                cells, candidates, floors=find_floors_by(cells, settings.anchor_feature.lower())
            )
            return _logged_plan(group_cells(varied, features), features)
        return earlier[-1].plan if earlier else None

    run = run_on_cells(
        cells,
        candidates=candidates,
        window=WindowFacts(
            log.totals, *(count_click_views(table, log.click_maturity) for table in (log.domain_cells, log.npi_totals))
        ),
        settings=settings,
        run_id=run_id,
        trainer=Trainer(_train, seed=1, threads=threads),
        earlier=EarlierRuns(
            find_plan, {run.run_id: known for run in earlier if (known := run.plan.figures.forecast) is not None}
        ),
    )
    priceable = Priceable.of(run.learned, run.active)
    return TrialRun(run_id, run.selection, run.report, run.priced, run.backtest, run.variation, priceable)


def _train(job: TrainingJob, cells: pd.DataFrame) -> tuple[pd.DataFrame, TrainingReport]:
    """In this process, which no task forks from."""
    fitted = fit(job, cells)
    return fitted.segments, fitted.report


def _logged_plan(cells: pd.DataFrame, features: Sequence[str]) -> PlannedBids:
    """The mean planned bid of each segment, as if one run had bid the log's jittered days."""
    planned = cells[cells["log_planned"].notna()]
    mass = planned["bids"]
    sums = pd.DataFrame({"log": planned["log_planned"] * mass, "bids": mass}).join(planned[list(features)])
    means = sums.groupby(list(features), observed=True).sum()
    keys = (segment_key([None if value == MISSING else value for value in name]) for name in means.index)
    fallback = float(np.exp(means["log"].sum() / means["bids"].sum()))
    return PlannedBids(tuple(features), dict(zip(keys, np.exp(means["log"] / means["bids"]), strict=True)), fallback)
