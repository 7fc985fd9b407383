"""One trial a case: the figures of the optimizer, or of a baseline, against the truth."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Literal

import numpy as np

from lab.evaluation.backtesting import share_covered
from lab.evaluation.baselines import BASELINES
from lab.evaluation.cases import DAILY, TARGET_ONLY, Case
from lab.evaluation.goals import TrialFigures
from lab.evaluation.judgement import REQUESTS, judge
from lab.evaluation.live_judgement import judge_live
from lab.evaluation.live_trials import try_live_worlds
from lab.evaluation.log import ExtractedLog
from lab.evaluation.loop import run_loop
from lab.evaluation.second_trials import SECOND_LOOP_DAYS, try_second
from lab.evaluation.suggestion import suggestion_of
from lab.evaluation.trial import TrialRun, run_trial
from lab.evaluation.what_if_judgement import judge_what_if
from lab.market.auctions import draw_requests
from lab.market.data_quality import Dirt
from lab.market.policies import BidTablePolicy
from lab.market.world import World
from optimizer.core.config.settings import RunSettings
from optimizer.core.serving.keys import segment_key
from optimizer.runs.backtesting import BACKTEST_DAYS

Family = Literal["first", "second", "live"]

LOOP_DAYS = 10
SETTLED_DAYS = 3
"""Days of a loop from which it is judged: the first ones still move in daily steps."""

WHAT_IF_SETTINGS = RunSettings(max_bid_cpm=8.0, floor_available=True)
VALUE_RATIO = 1.3
"""Settings and value of a win of the what-if's markets: floors, margin, cap and daily step all decide some bids."""

BASELINE_FEATURES = ("internal_adspace_id", "geo_region_name", "os_code")
DIRT_SWITCHES: Mapping[str, Dirt] = {
    "duplicated views": Dirt(duplicated_views=0.02),
    "zero bids": Dirt(zero_bids=0.02),
    "views without a bid": Dirt(views_without_bid=0.01),
    "late events": Dirt(late_events=0.02),
    "null tokens": Dirt(null_tokens=0.005),
}

DIRT_COUNTS = {"bid_rows", "distinct_bids", "zero_bids", "duplicate_views", "orphan_views"}
"""Totals of a log that count dirt, and rows with it."""


@dataclass(frozen=True, slots=True)
class Job:
    """One piece of the benchmark: a scenario of the table with one seed.

    bids: of the log; the live worlds have numbers of their own.
    loop_days: daily runs of the second family's closed loop; 0: none.
    """

    scenario: str
    seed: int
    bids: int = 300_000
    family: Family = "first"
    loop_days: int = SECOND_LOOP_DAYS

    def run(self) -> list[TrialFigures]:
        """Return the figures of the trial, one row a method."""
        if self.family == "second":
            return try_second(self.scenario, self.seed, bids=self.bids, loop_days=self.loop_days)
        if self.family == "live":
            return try_live_worlds(self.scenario, self.seed)
        return list(_SCENARIOS[self.scenario](Case(self.seed, bids=self.bids)))


def _try_steady(case: Case) -> Iterator[TrialFigures]:
    world, log = _open(case)
    yield _figures("steady", case, world, _run(case, log))
    for baseline in BASELINES:
        suggestion = baseline(log.cells, target_win_rate=TARGET_ONLY.target_win_rate, features=BASELINE_FEATURES)
        judged = judge(world, suggestion, day=case.end_day, target_win_rate=TARGET_ONLY.target_win_rate)
        yield TrialFigures("steady", suggestion.method, case.seed, **asdict(judged))


def _try_change(name: str) -> Callable[[Case], Iterator[TrialFigures]]:
    def try_case(case: Case) -> Iterator[TrialFigures]:
        changed = replace(case, scenario=name)
        world, log = _open(changed)
        yield _figures(name, changed, world, _run(changed, log))

    return try_case


def _try_second_price(case: Case) -> Iterator[TrialFigures]:
    second = replace(case, is_second_price=True)
    world, log = _open(second)
    figures = _figures("second price", second, world, _run(second, log))
    # The ideal is that of a first-price auction.
    yield replace(figures, bid_over_ideal=np.nan, cpm=np.nan, ideal_cpm=np.nan)


def _try_flat_bids(case: Case) -> Iterator[TrialFigures]:
    flat = replace(case, scenario="flat_bids")
    _, log = _open(flat)
    bids = _run(flat, log).priced.bids
    is_kept = (bids["reason"] == "held") & (bids["planned_bid_cpm"] / bids["usual_bid_cpm"] - 1).abs().le(0.01)
    yield TrialFigures("flat bids", "optimizer", case.seed, is_refused=float(is_kept.all()))


def _try_dirt(case: Case) -> Iterator[TrialFigures]:
    world, clean_log = _open(case)
    clean = _run(case, clean_log)
    for name, dirt in DIRT_SWITCHES.items():
        soiled = replace(case, dirt=dirt)
        _, log = _open(soiled)
        # The same cells give the same bids: such a run is not made again.
        is_alike = _learned_from(log) == _learned_from(clean_log)
        change = 0.0 if is_alike else _bid_change(world, case, clean, _run(soiled, log))
        yield TrialFigures(f"dirt: {name}", "optimizer", case.seed, bid_change=change)


def _try_backtest(case: Case) -> Iterator[TrialFigures]:
    world, log = _open(case)
    # Beyond the daily step the log shows too little of the new bids, and the backtest refuses.
    run = run_trial(log, settings=DAILY, run_id=f"seed{case.seed}", has_logged_active=True)
    covered = 0.0  # a refusal holds nothing
    if run.backtest.is_supported:
        jitter_sd = run.priced.figures.jitter_sd
        covered = share_covered(case, world, run.backtest, _planned_table(run), jitter_sd=jitter_sd, days=BACKTEST_DAYS)
    refused = float(not run.backtest.is_supported)
    yield TrialFigures("backtest", "optimizer", case.seed, backtest_covered=covered, backtest_refused=refused)


def _try_live(case: Case) -> Iterator[TrialFigures]:
    world, log = _open(case)
    verdicts = judge_live(case, world, _run(case, log))
    yield TrialFigures("live numbers", "optimizer", case.seed, **asdict(verdicts))


def _try_what_if(name: str, preset: str) -> Callable[[Case], Iterator[TrialFigures]]:
    def try_case(case: Case) -> Iterator[TrialFigures]:
        valued = replace(case, preset=preset, value_ratio=VALUE_RATIO)
        world, log = _open(valued)
        run = run_trial(log, settings=WHAT_IF_SETTINGS, run_id=f"seed{case.seed}")
        coverage = judge_what_if(valued, world, run, settings=WHAT_IF_SETTINGS)
        yield TrialFigures(name, "optimizer", case.seed, **asdict(coverage))

    return try_case


def _try_loop(name: str, scenario: str) -> Callable[[Case], Iterator[TrialFigures]]:
    def try_case(case: Case) -> Iterator[TrialFigures]:
        days = list(run_loop(replace(case, scenario=scenario), settings=DAILY, live_days=LOOP_DAYS))
        achieved = float(np.mean([day.win_rate for day in days[SETTLED_DAYS:]]))
        gap = achieved - TARGET_ONLY.target_win_rate
        yield TrialFigures(name, "optimizer", case.seed, achieved=achieved, gap=gap)

    return try_case


_SCENARIOS: Mapping[str, Callable[[Case], Iterator[TrialFigures]]] = {
    "steady": _try_steady,
    "demand step": _try_change("demand_step"),
    "new rival": _try_change("new_rival"),
    "floor chasing": _try_change("floor_chasing"),
    "adspace appears": _try_change("adspace_appears"),
    "adspace goes": _try_change("adspace_goes"),
    "second price": _try_second_price,
    "flat bids": _try_flat_bids,
    "dirt": _try_dirt,
    "backtest": _try_backtest,
    "live numbers": _try_live,
    "what-if, paid per view": _try_what_if("what-if, paid per view", "nativo_consumer"),
    "what-if, paid per click": _try_what_if("what-if, paid per click", "drugs_com"),
    "daily loop": _try_loop("daily loop", "steady"),
    "daily loop, floor chasing": _try_loop("daily loop, floor chasing", "floor_chasing"),
}
SCENARIO_NAMES = tuple(_SCENARIOS)


@lru_cache(maxsize=4)
def _open(case: Case) -> tuple[World, ExtractedLog]:
    world = case.create_world()
    return world, case.extract(world, case.generate_log(world))


def _run(case: Case, log: ExtractedLog) -> TrialRun:
    return run_trial(log, settings=_settings(case), run_id=f"seed{case.seed}")


def _settings(case: Case) -> RunSettings:
    return TARGET_ONLY.model_copy(update={"auction_type": "second_price" if case.is_second_price else "first_price"})


def _figures(scenario: str, case: Case, world: World, run: TrialRun) -> TrialFigures:
    suggestion = suggestion_of(run.priced, features=run.selection.features, run_id=run.run_id)
    judged = judge(world, suggestion, day=case.end_day, target_win_rate=TARGET_ONLY.target_win_rate)
    report, true_slope = run.report, case.logged_slope(world)
    off = abs(report.bid_coefficient - true_slope)
    return TrialFigures(
        scenario=scenario.replace("_", " "),
        method="optimizer",
        seed=case.seed,
        **asdict(judged),
        slope=report.bid_coefficient,
        true_slope=true_slope,
        slope_covered=float(off <= 1.96 * report.bid_coefficient_error),
    )


def _learned_from(log: ExtractedLog) -> list[object]:
    """All that a run learns from, as values that compare: the log but for the counts of what was left out of it."""
    tables = (log.cells, log.domain_cells, log.npi_totals)
    totals = log.totals.model_dump(exclude=DIRT_COUNTS)
    return [*(table.to_parquet(index=False) for table in tables), totals, dict(log.click_maturity)]


def _bid_change(world: World, case: Case, clean: TrialRun, soiled: TrialRun) -> float:
    """Mean relative change of the planned base bid over the requests of the week after the log."""
    requests = draw_requests(world, start_day=case.end_day, days=7, count=REQUESTS, seed=case.seed)
    before, after = (_planned_table(run).price(world, requests).base_bid_cpm for run in (clean, soiled))
    return float(np.abs(after / before - 1).mean())


def _planned_table(run: TrialRun) -> BidTablePolicy:
    """The run without its jitter."""
    served = run.priced.bids[run.priced.bids["is_served"]]
    return BidTablePolicy(
        bids=dict(zip(served["segment_key"], served["planned_bid_cpm"], strict=True)),
        features=run.selection.features,
        fallback_bid_cpm=run.priced.figures.fallback_bid_cpm,
        spell_key=segment_key,
    )
