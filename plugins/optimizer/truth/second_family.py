"""The optimizer on the second family: one run judged on the week after the log, and daily runs fed back.

judge_open_loop("base", 1)          # one run, the next 7 days at its served bids
judge_closed_loop("base", 1, days=7)  # a run each morning, which bids the day and learns from it
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from time import perf_counter

import numpy as np
from scipy.special import logit

from optimizer.core.settings import RunSettings
from optimizer.second_market.auctions import settle
from optimizer.second_market.ideal import find_ideal, flat_cpm
from optimizer.second_market.market import Market
from optimizer.second_market.prices import expected_cost, win_probability
from optimizer.second_market.requests import TRUE_FEATURES, Requests, draw_requests
from optimizer.second_market.scenarios import SCENARIOS, Scenario
from optimizer.second_market.served import ServedTable, spell_keys
from optimizer.second_market.settings import FIRST_DAY
from optimizer.truth.said import Promise, Said, promised_shortfall, said_by, verdict_of
from optimizer.truth.second_log import LiveLog, run_settings, served_table, view_revenue
from optimizer.truth.trial import EarlierRun, TrialRun, run_trial

JUDGED_DAYS = 7
JUDGED_A_DAY = 15_000
"""Requests a day on which a policy's truth is averaged; their win probabilities are exact."""

SETTLED_DAY = 3
"""First day of a closed loop that is judged, counted from 1."""

SHORTFALL = 0.02
"""A run says that the target cannot be reached where it expects to miss it by more than this."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What served bids truly bring on some requests, against the cheapest bids and one flat bid with the same wins.

    achieved: win rate; cpm: what a win costs; flat_cpm, ideal_cpm: what it would cost at the same win rate.
    bid_over_ideal: median of the base bid over the ideal bid at the target.
    """

    achieved: float
    cpm: float
    flat_cpm: float
    ideal_cpm: float
    bid_over_ideal: float


@dataclass(frozen=True, slots=True)
class OpenLoop:
    """One run, judged on the week after its log.

    gap: achieved less target. said, is_right: what the run said, and whether that is right in this scenario.
    shortfall: what the run expects to miss the target by. is_promoted: it would go live by itself.
    largest_move: of a served bid against the segment's usual bid; moved_share: of requests whose bid moved by more than
    the daily step. has_false_feature: a candidate without effect is in the key.
    """

    scenario: str
    seed: int
    outcome: Outcome
    gap: float
    win_rate: Promise
    cpm: Promise
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
class LoopDay:
    """One day of a closed loop: the run of its morning bid all its auctions.

    largest_move: of a served base bid against the day before (on the first day against the usual bid).
    """

    day: int
    outcome: Outcome
    win_rate: Promise
    said: Said
    is_promoted: bool
    largest_move: float
    slope: float
    has_false_feature: bool


@dataclass(frozen=True, slots=True)
class ClosedLoop:
    """Daily runs fed back; gap, cpm_over_flat and cpm_over_ideal are of the settled days, the third to the last."""

    scenario: str
    seed: int
    days: tuple[LoopDay, ...]
    gap: float
    last_gap: float
    cpm_over_flat: float
    cpm_over_ideal: float
    promise_covered: float
    largest_move: float
    seconds: float


def judge_open_loop(scenario: str | Scenario, seed: int) -> OpenLoop:
    """Return one run on the scenario's log of this seed, judged on the next 7 days at its served bids."""
    started, scenario = perf_counter(), _find(scenario)
    market = scenario.create(seed)
    settings = run_settings(scenario, market)
    log = LiveLog.open(market, view_revenue=view_revenue(scenario, market, settings))
    extracted = log.extract()
    run = _run(log, settings, earlier=[])
    verdict = verdict_of(run, extracted, settings=settings)
    days = range(log.end_day, log.end_day + JUDGED_DAYS)
    requests = draw_requests(market, days=days, per_day=JUDGED_A_DAY, purpose="judgement")
    table = served_table(run, settings)
    outcome = judge_table(market, requests, table, scenario=scenario)
    moves = _moves_from_usual(market, requests, table, log.usual_bids(table.features))
    said, shortfall = said_by(run), promised_shortfall(run, target_win_rate=scenario.target_win_rate)
    return OpenLoop(
        scenario=scenario.name,
        seed=seed,
        outcome=outcome,
        gap=outcome.achieved - scenario.target_win_rate,
        win_rate=Promise.of(run.priced.figures, "expected_win_rate"),
        cpm=Promise.of(run.priced.figures, "expected_cpm"),
        said=said,
        is_right=_is_right(scenario, said, shortfall),
        shortfall=shortfall,
        is_promoted=verdict.is_passed,
        failures=tuple(text.split(":")[0] for text in verdict.failures),
        warnings=tuple(text.split(":")[0] for text in verdict.warnings),
        largest_move=float(moves.max(initial=0.0)),
        moved_share=float(np.mean(moves > settings.daily_step_limit + 1e-9)),
        features=table.features,
        has_false_feature=_has_false_feature(table.features),
        slope=run.report.bid_coefficient,
        slope_error=run.report.bid_coefficient_error,
        true_slope=_true_slope(market, log),
        seconds=perf_counter() - started,
    )


def judge_closed_loop(scenario: str | Scenario, seed: int, *, days: int = 7) -> ClosedLoop:
    """Return `days` daily runs: each bids all auctions of its day, and the next one learns from what that won."""
    started, scenario = perf_counter(), _find(scenario)
    market = scenario.create(seed)
    settings = run_settings(scenario, market)
    log = LiveLog.open(market, view_revenue=view_revenue(scenario, market, settings))
    earlier: list[TrialRun] = []
    live: list[LoopDay] = []
    before: ServedTable | None = None
    for _ in range(days):
        run = _run(log, settings, earlier=earlier)
        verdict = verdict_of(run, log.extract(), settings=settings, active=earlier[-1] if earlier else None)
        table, day = served_table(run, settings), log.end_day
        requests = draw_requests(market, days=[day], per_day=market.settings.bids_a_day)
        bids = table.price(market, requests)
        if before is None:
            moves = _moves_from_usual(market, requests, table, log.usual_bids(table.features))
        else:
            moves = np.abs(bids.base_cpm / before.price(market, requests).base_cpm - 1)
        live.append(
            LoopDay(
                day=len(live) + 1,
                outcome=judge_table(market, requests, table, scenario=scenario),
                win_rate=Promise.of(run.priced.figures, "expected_win_rate"),
                said=said_by(run),
                is_promoted=verdict.is_passed,
                largest_move=float(np.nanmax(moves, initial=0.0)),
                slope=run.report.bid_coefficient,
                has_false_feature=_has_false_feature(table.features),
            )
        )
        log = log.append(settle(market, requests, bids, run_ids={day: run.run_id}))
        earlier.append(run)
        before = table
    return _closed_loop(scenario, seed, live, seconds=perf_counter() - started)


def judge_table(market: Market, requests: Requests, table: ServedTable, *, scenario: Scenario) -> Outcome:
    """Return what the table's bids truly bring on the requests."""
    bids = table.price(market, requests)
    p = win_probability(market, requests, bids.bid_cpm)
    achieved = float(p.mean())
    at_target = find_ideal(market, requests, win_rate=scenario.target_win_rate)
    return Outcome(
        achieved=achieved,
        cpm=float(expected_cost(market, requests, bids.bid_cpm).sum() / p.sum()),
        flat_cpm=flat_cpm(market, requests, win_rate=achieved),
        ideal_cpm=find_ideal(market, requests, win_rate=achieved).cpm,
        bid_over_ideal=float(np.nanmedian(bids.base_cpm / at_target.bid_cpm[requests.segment])),
    )


def _find(scenario: str | Scenario) -> Scenario:
    return SCENARIOS[scenario] if isinstance(scenario, str) else scenario


def _run(log: LiveLog, settings: RunSettings, *, earlier: list[TrialRun]) -> TrialRun:
    day = FIRST_DAY + timedelta(days=log.end_day)
    published: list[EarlierRun] = [run.as_earlier for run in earlier]
    return run_trial(
        log.extract(), settings=settings, run_id=f"{day:%Y%m%d}_060000", earlier=published, candidates=log.candidates
    )


def _is_right(scenario: Scenario, said: Said, shortfall: float) -> bool:
    is_held = said in ("learning", "held")
    if scenario.expected == "hold":
        return is_held
    return not is_held and (shortfall > SHORTFALL) == (scenario.expected == "shortfall") and said != "naive"


def _has_false_feature(features: tuple[str, ...]) -> bool:
    return bool(set(features) - set(TRUE_FEATURES))


def _moves_from_usual(
    market: Market, requests: Requests, table: ServedTable, usual_cpm: Mapping[str, float]
) -> np.ndarray:
    """Return |served / usual - 1| of the base bids of the requests whose key has a usual bid and is bid on."""
    keys, key_of = spell_keys(market, requests, table.features)
    usual = np.array([usual_cpm.get(key, np.nan) for key in keys])[key_of]
    moves = np.abs(table.price(market, requests).base_cpm / usual - 1)
    return moves[~np.isnan(moves)]


def _true_slope(market: Market, log: LiveLog) -> float:
    """Return d logit P(win) / d log bid at the bids of the log's last week, weighted as logistic regression does."""
    is_last = log.auctions.requests.day >= log.end_day - JUDGED_DAYS
    requests, bid = log.auctions.requests.pick(is_last), log.auctions.bids.bid_cpm[is_last]
    low, here, high = (win_probability(market, requests, bid * np.exp(step)) for step in (-0.1, 0.0, 0.1))
    known = (low > 0) & (high < 1)
    slope = (logit(high[known]) - logit(low[known])) / 0.2
    return float(np.average(slope, weights=(here * (1 - here))[known]))


def _closed_loop(scenario: Scenario, seed: int, live: list[LoopDay], *, seconds: float) -> ClosedLoop:
    settled = live[SETTLED_DAY - 1 :] or live
    outcomes = [day.outcome for day in settled]
    won = np.array([outcome.achieved for outcome in outcomes])

    def spend(name: str) -> float:
        return float(won @ np.array([getattr(outcome, name) for outcome in outcomes]))

    return ClosedLoop(
        scenario=scenario.name,
        seed=seed,
        days=tuple(live),
        gap=float(won.mean()) - scenario.target_win_rate,
        last_gap=float(won[-2:].mean()) - scenario.target_win_rate,
        cpm_over_flat=spend("cpm") / spend("flat_cpm"),
        cpm_over_ideal=spend("cpm") / spend("ideal_cpm"),
        promise_covered=float(np.mean([day.win_rate.covers(day.outcome.achieved) for day in live])),
        largest_move=max(day.largest_move for day in live),
        seconds=seconds,
    )
