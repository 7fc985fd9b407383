"""The optimizer on the second family: one run judged on the week after the log, and daily runs fed back.

judge_open_loop("base", 1)            # one run, the next 7 days at its served bids
judge_closed_loop("base", 1, days=7)  # a run each morning, which bids the day; the next one learns from it
"""

from dataclasses import dataclass
from time import perf_counter

import numpy as np

from lab.evaluation.second_case import SecondCase
from lab.evaluation.second_log import served_table
from lab.evaluation.second_outcome import BidScore, true_slope
from lab.evaluation.self_report import Interval, Said, forecast_shortfall, is_on_its_way, said_by
from lab.evaluation.trial import TrialRun
from lab.second_market.auctions import old_bids, old_run_ids, settle
from lab.second_market.requests import TRUE_FEATURES, draw_requests
from lab.second_market.scenarios import Scenario
from lab.second_market.served import ServedTable

JUDGED_DAYS = 7
JUDGED_A_DAY = 15_000
"""Requests a day on which a policy's truth is averaged; their win probabilities are exact."""

SETTLED_DAY = 3
"""First day of a closed loop that is judged, counted from 1."""

SHORTFALL = 0.02
"""A run says that the target cannot be reached where it expects to miss it by more than this."""


@dataclass(frozen=True, slots=True)
class OpenLoop:
    """One run, judged on the week after its log.

    gap: achieved less target. win_rate, cpm: what the run forecasts. said, is_right: what it said, and whether that is
    right in this scenario. shortfall: what it expects to miss the target by. is_promoted: it would go live by itself;
    failures, warnings: names of the checks. largest_move: of a served bid against the segment's usual bid; moved_share:
    of requests whose bid moved by more than the daily step. has_false_feature: one without effect is in the key.
    """

    scenario: str
    seed: int
    outcome: BidScore
    gap: float
    win_rate: Interval
    cpm: Interval
    said: Said
    is_right: bool
    shortfall: float
    is_promoted: bool
    failures: tuple[str, ...]
    warnings: tuple[str, ...]
    largest_move: float
    moved_share: float
    features: tuple[str, ...]
    has_false_feature: bool
    slope: float
    slope_error: float
    true_slope: float
    seconds: float


@dataclass(frozen=True, slots=True)
class SecondLoopDay:
    """One day of a closed loop. The morning's run bids all its auctions; the one before does if validation fails.

    largest_move: of a served base bid against the day before (on the first day against the usual bid).
    """

    day: int
    outcome: BidScore
    win_rate: Interval
    said: Said
    is_promoted: bool
    failures: tuple[str, ...]
    largest_move: float
    slope: float
    has_false_feature: bool


@dataclass(frozen=True, slots=True)
class ClosedLoop:
    """Daily runs fed back; gap, cpm_over_flat and cpm_over_ideal are of the settled days, the third to the last.

    last_gap: achieved less target on the last two days.
    """

    scenario: str
    seed: int
    days: tuple[SecondLoopDay, ...]
    gap: float
    last_gap: float
    cpm_over_flat: float
    cpm_over_ideal: float
    forecast_covered: float
    largest_move: float
    seconds: float


def judge_open_loop(scenario: str | Scenario, seed: int) -> OpenLoop:
    """Return one run on the scenario's log of this seed, judged on the next 7 days at its served bids."""
    started, case = perf_counter(), SecondCase.open(scenario, seed)
    scenario, market, settings, log = case.scenario, case.market, case.settings, case.log
    run, verdict = case.run(log, live=[])
    days = range(log.end_day, log.end_day + JUDGED_DAYS)
    requests = draw_requests(market, days=days, per_day=JUDGED_A_DAY, purpose="judgement")
    table = served_table(run, settings)
    bids = table.price(market, requests)
    outcome = case.judge(requests, bids)
    moves = case.moves_from_usual(log, requests, bids, table)
    said, shortfall = said_by(run), forecast_shortfall(run, target_win_rate=scenario.target_win_rate)
    return OpenLoop(
        scenario=scenario.name,
        seed=seed,
        outcome=outcome,
        gap=outcome.achieved - scenario.target_win_rate,
        win_rate=Interval.of(run.priced.figures.model_dump(), "expected_win_rate"),
        cpm=Interval.of(run.priced.figures.model_dump(), "expected_cpm"),
        said=said,
        is_right=_is_right(scenario, said, shortfall, is_on_its_way=is_on_its_way(run)),
        shortfall=shortfall,
        is_promoted=verdict.is_passed and not verdict.holds,
        failures=_names(verdict.failures),
        warnings=_names(verdict.warnings),
        largest_move=float(moves.max(initial=0.0)),
        moved_share=float(np.mean(moves > settings.daily_step_limit + 1e-9)),
        features=table.features,
        has_false_feature=_has_false_feature(run),
        slope=run.report.bid_coefficient,
        slope_error=run.report.bid_coefficient_error,
        true_slope=true_slope(log),
        seconds=perf_counter() - started,
    )


def judge_closed_loop(scenario: str | Scenario, seed: int, *, days: int = 7) -> ClosedLoop:
    """Return `days` daily runs: each bids all auctions of its day, and the next one learns from what that won.

    A run that validation fails does not go live: the one before bids on, at first the policy of the log.
    """
    started, case = perf_counter(), SecondCase.open(scenario, seed)
    market, log = case.market, case.log
    live: list[TrialRun] = []
    found: list[SecondLoopDay] = []
    table: ServedTable | None = None
    for number in range(1, days + 1):
        run, verdict = case.run(log, live=live)
        before, day = table, log.end_day
        if verdict.is_passed:
            live, table = [*live, run], served_table(run, case.settings)
        requests = draw_requests(market, days=[day], per_day=market.settings.bids_a_day)
        bids = old_bids(market, requests) if table is None else table.price(market, requests)
        if table is not None and before is not None:
            moves = np.abs(bids.base_cpm / before.price(market, requests).base_cpm - 1)
        elif table is not None:
            moves = case.moves_from_usual(log, requests, bids, table)
        else:
            moves = np.zeros(1)
        found.append(
            SecondLoopDay(
                day=number,
                outcome=case.judge(requests, bids),
                win_rate=Interval.of(run.priced.figures.model_dump(), "expected_win_rate", horizon="day"),
                said=said_by(run),
                is_promoted=verdict.is_passed and not verdict.holds,
                failures=_names(verdict.failures),
                largest_move=float(np.nanmax(moves, initial=0.0)),
                slope=run.report.bid_coefficient,
                has_false_feature=_has_false_feature(run),
            )
        )
        run_ids = {day: live[-1].run_id} if live else old_run_ids([day])
        log = log.append(settle(market, requests, bids, run_ids=run_ids))
    return _closed_loop(case.scenario, seed, found, seconds=perf_counter() - started)


def _is_right(scenario: Scenario, said: Said, shortfall: float, *, is_on_its_way: bool) -> bool:
    """Where a target can be reached, a run may also say that the daily step keeps it from that today."""
    is_held = said in ("learning", "held")
    if scenario.expected == "either" and said != "naive":
        return True
    if scenario.expected == "hold":
        return is_held
    says_short = shortfall > SHORTFALL
    if scenario.expected == "reach":
        return said == "bids" and (not says_short or is_on_its_way)
    return said == "bids" and says_short


def _has_false_feature(run: TrialRun) -> bool:
    return bool(set(run.selection.features) - set(TRUE_FEATURES))


def _names(messages: list[str]) -> tuple[str, ...]:
    return tuple(message.split(":")[0] for message in messages)


def _closed_loop(scenario: Scenario, seed: int, found: list[SecondLoopDay], *, seconds: float) -> ClosedLoop:
    outcomes = [day.outcome for day in found[SETTLED_DAY - 1 :] or found]
    won = np.array([outcome.achieved for outcome in outcomes])

    def spend(name: str) -> float:
        return float(won @ np.array([getattr(outcome, name) for outcome in outcomes]))

    return ClosedLoop(
        scenario=scenario.name,
        seed=seed,
        days=tuple(found),
        gap=float(won.mean()) - scenario.target_win_rate,
        last_gap=float(won[-2:].mean()) - scenario.target_win_rate,
        cpm_over_flat=spend("cpm") / spend("flat_cpm"),
        cpm_over_ideal=spend("cpm") / spend("ideal_cpm"),
        forecast_covered=float(np.mean([day.win_rate.covers(day.outcome.achieved) for day in found])),
        largest_move=max(day.largest_move for day in found),
        seconds=seconds,
    )
