"""A run on cells, without any system: choose the key, train, bid, look back.

`run_on_cells` does it all at once; the steps of a DAG run do the same one by one and keep what each leaves.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from optimizer.core.config.settings import RunSettings
from optimizer.core.landscape.cells import group_cells, unmask
from optimizer.core.landscape.features import Selection, SelectionLimits, select_features
from optimizer.core.landscape.hidden_floors import HiddenFloors, find_floors_by
from optimizer.core.landscape.jitter import Variation, learn_variation
from optimizer.core.pricing.backtest import Backtest
from optimizer.core.pricing.forecast import EarlierForecast, correct_level
from optimizer.core.records.window_totals import ViewCounts, WindowTotals
from optimizer.runs.backtesting import Served, backtest_bids
from optimizer.runs.bid_limits import JITTER_SD
from optimizer.runs.learned import ActiveBids, Learned, learn_effects
from optimizer.runs.planned_bids import PlannedBids, previous_bids
from optimizer.runs.pricing import PricedRun, price_run
from optimizer.training.job import TrainingJob, TrainingReport

Train = Callable[[TrainingJob, pd.DataFrame], tuple[pd.DataFrame, TrainingReport]]
"""A job and its cells -> segments and report. The caller passes it in: LightGBM must not be loaded in a task."""

MAX_ORPHAN_VIEW_SHARE = 0.01
"""Views without a bid may be strangers': above this share of all views they do not count for the click rate."""


@dataclass(frozen=True, slots=True)
class WindowFacts:
    """What is known of the window's log in addition to its cells.

    domain_cells, npi_totals: None where they are not asked for.
    """

    totals: WindowTotals
    domain_cells: pd.DataFrame | None = field(repr=False)
    npi_totals: pd.DataFrame | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Trainer:
    """How a run is trained: seed and threads of the models."""

    train: Train
    seed: int
    threads: int = 1


@dataclass(frozen=True, slots=True)
class EarlierRuns:
    """What a run knows of those before it.

    find_plan: the chosen features -> what the active run plans, None before there is one.
    forecasts: what earlier runs forecast, by run_id.
    """

    find_plan: Callable[[Sequence[str]], PlannedBids | None]
    forecasts: Mapping[str, EarlierForecast] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CellRun:
    """All that a run found and suggests; the backtest is None where there is nothing to compare with.

    learned, active: what it was priced from.
    """

    selection: Selection
    variation: Variation
    learned: Learned
    active: ActiveBids | None
    priced: PricedRun
    backtest: Backtest | None

    @property
    def report(self) -> TrainingReport:
        """What came out of training."""
        return self.learned.report


def run_on_cells(
    cells: pd.DataFrame,
    *,
    candidates: Sequence[str],
    window: WindowFacts,
    settings: RunSettings,
    run_id: str,
    trainer: Trainer,
    earlier: EarlierRuns,
) -> CellRun:
    """Return the run on these cells.

    Args:
        cells: prepared, by every candidate feature, with what earlier runs planned.
    """
    floors = find_floors_by(cells, settings.anchor_feature.lower())
    cells, variation = learn_variation(cells, candidates, floors=floors)
    selection = choose_key(cells, candidates=candidates, settings=settings, floors=floors, variation=variation)
    features = selection.features
    job = training_job(features, settings=settings, views=window.totals, seed=trainer.seed, threads=trainer.threads)
    segments, report = trainer.train(job, training_cells(cells, features))
    learned = Learned(
        segments=segments,
        report=report,
        features=features,
        **learn_effects(report, domain_cells=window.domain_cells, npi_totals=window.npi_totals),
        total_clicks=window.totals.joined_clicks,
        level_correction=correct_level(cells, earlier.forecasts),
    )
    plan = earlier.find_plan(features)
    active = active_bids(plan, cells, features)
    priced, backtest = bid_on_cells(cells, learned, plan=plan, active=active, settings=settings, run_id=run_id)
    return CellRun(selection, variation, learned, active, priced, backtest)


def judge_features(cells: pd.DataFrame, *, candidates: Sequence[str], settings: RunSettings) -> Selection:
    """Return `choose_key` of prepared cells with what earlier runs planned, whatever varied in them."""
    floors = find_floors_by(cells, settings.anchor_feature.lower())
    cells, variation = learn_variation(cells, candidates, floors=floors)
    return choose_key(cells, candidates=candidates, settings=settings, floors=floors, variation=variation)


def choose_key(
    cells: pd.DataFrame,
    *,
    candidates: Sequence[str],
    settings: RunSettings,
    floors: HiddenFloors,
    variation: Variation | None = None,
) -> Selection:
    """Return the features that segments are made of, the anchor first.

    Args:
        floors: the hidden floors of the cells, by the anchor.
        variation: where it identifies no slope, the key has the features that the logged bids depend on.
    """
    limits = SelectionLimits(
        anchor_feature=settings.anchor_feature.lower(),
        max_features=settings.max_features,
        max_segments=settings.max_segments,
        min_segment_bids=settings.min_segment_bids,
        min_evidence_share=settings.min_evidence_share,
    )
    held_key = variation.logged_key if variation is not None and variation.source == "none" else ()
    return select_features(cells[floors.is_above], candidates=candidates, limits=limits, held_key=held_key)


def training_job(
    features: Sequence[str],
    *,
    settings: RunSettings,
    views: ViewCounts,
    seed: int,
    threads: int,
    scheduler: str | None = None,
) -> TrainingJob:
    """Return the job of a training process."""
    return TrainingJob(
        features=tuple(features),
        half_life_days=settings.half_life_days,
        is_second_price=settings.auction_type == "second_price",
        **_clicked_views(views),
        seed=seed,
        threads=threads,
        scheduler=scheduler,
        tuning_trials=settings.tuning_trials,
        tuning_minutes=settings.tuning_minutes,
    )


def training_cells(cells: pd.DataFrame, features: Sequence[str]) -> pd.DataFrame:
    """Return the cells that a training process reads: by the features of the key, null where the log has null."""
    grouped = group_cells(cells, features)
    return grouped.assign(**{feature: unmask(grouped[feature]) for feature in features})


def bid_on_cells(
    cells: pd.DataFrame,
    learned: Learned,
    *,
    plan: PlannedBids | None,
    active: ActiveBids | None,
    settings: RunSettings,
    run_id: str,
) -> tuple[PricedRun, Backtest | None]:
    """Return bids and multipliers, and their backtest against the active run's.

    Args:
        plan: what the active run plans; active: the same by the new run's keys (`active_bids`).
    """
    priced = price_run(learned, settings=settings, active=active, run_id=run_id)
    if plan is None or active is None or settings.auction_type != "first_price":
        return priced, None
    backtest = backtest_bids(
        group_cells(cells, learned.features),
        features=tuple(learned.features),
        bids=priced.bids,
        report=learned.report,
        new=Served(priced.figures.jitter_sd, priced.figures.fallback_bid_cpm),
        active=Served(plan.figures.jitter_sd or JITTER_SD["on"], active.fallback_cpm),
        run_id=run_id,
    )
    return priced, backtest


def active_bids(plan: PlannedBids | None, cells: pd.DataFrame, features: Sequence[str]) -> ActiveBids | None:
    """Return the active run's bids by the new run's keys; None without one, or if its key cannot be built anymore."""
    if plan is None:
        return None
    planned = previous_bids(plan, cells, features)
    if planned is None:
        return None
    served, kept = (
        previous_bids(plan, cells, features, bids_cpm=bids) if bids else planned
        for bids in (plan.step_from_cpm, plan.kept_cpm)
    )
    return ActiveBids(planned, served or planned, plan.fallback_cpm, kept)


def _clicked_views(found: ViewCounts) -> dict[str, int]:
    """Views and clicks that the overall click rate is made of: those without a bid count while they are few."""
    views, clicks = found.joined_views, found.joined_clicks
    if found.orphan_view_share <= MAX_ORPHAN_VIEW_SHARE:
        views, clicks = views + found.orphan_views, clicks + found.orphan_clicks
    return {"total_views": views, "total_clicks": clicks}
