"""Live figures while clicks are still coming, read on every morning in worlds whose clicks come by a known delay."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache, partial

import numpy as np
import pandas as pd
import pytest

from lab.live_market.runs import CPM, CTR, MARGIN, OWN_DAY_SD, VALUE_PER_CLICK, WIN_RATE, draw_effects
from optimizer.core.landscape.click_delay import completeness_by_day, learn_click_delay
from optimizer.core.live.click_views import NOT_KNOWN, arrival_sentence, evenly_arrived, judge_weighed, weigh_views
from optimizer.core.live.performance import SUMS, Finding, ForecastFigures, Limits, against_control, against_forecast
from optimizer.core.live.policy import policy_against_control, policy_against_forecast
from optimizer.core.live.savings import measure_savings

FIRST, DAYS, EARLIER_DAYS = date(2026, 2, 1), 8, 14
FORECAST = ForecastFigures(win_rate=WIN_RATE, cpm=CPM, ctr=CTR, margin=MARGIN)
LIMITS = Limits(min_days=3, tolerance=0.1)
BIDS, LOOK_HOUR = 50_000, 2.5
SEEDS = range(20)


@dataclass(frozen=True)
class LateWorld:
    """A run that keeps FORECAST from day 0 on, each of whose clicks has a time of its view and a delay.

    wins, spend: by day, shape (earlier days + DAYS,).
    clicks: one row a click that ever comes, with its day, the hour of its view, and its delay in hours.
    """

    earlier: int
    wins: np.ndarray
    spend: np.ndarray
    clicks: pd.DataFrame

    def totals(self, days: int, *, clicked: pd.DataFrame) -> pd.DataFrame:
        """Return the totals of the run's first days, one row a day, with SUMS."""
        clicks = np.bincount(clicked["day"] + self.earlier, minlength=self.earlier + days)[self.earlier :][:days]
        run = slice(self.earlier, self.earlier + days)
        columns = [np.full(days, BIDS), self.wins[run], clicks, self.spend[run], np.zeros(days)]
        table = np.array([*columns, clicks * VALUE_PER_CLICK], float)
        return pd.DataFrame(table.T, columns=list(SUMS)).assign(day=days_of(range(days)))

    def final(self, days: int) -> pd.DataFrame:
        """Return the totals with all clicks that ever come."""
        return self.totals(days, clicked=self.clicks)

    def morning(self, days: int) -> pd.DataFrame:
        """Return the totals as the log shows them on the morning after these days, with click_maturity."""
        now = 24 * days + LOOK_HOUR
        seen = self.clicks[(self.clicks["hour"] + self.clicks["delay"] <= now) & (self.clicks["day"] < days)]
        maturity = self.learn(days, seen)
        totals = self.totals(days, clicked=seen)
        return totals.assign(click_maturity=np.nan if maturity is None else totals["day"].map(maturity))

    def learn(self, days: int, seen: pd.DataFrame) -> dict[date, float] | None:
        """Return the maturity by day, as the monitor learns it from the last two weeks."""
        numbers = np.arange(max(-self.earlier, days - 14), days)
        clicked = seen[seen["day"] >= numbers[0]]
        hours = np.add.outer(24 * numbers, np.arange(24) + 0.5).ravel()
        views = np.repeat(self.wins[numbers + self.earlier] / 24, 24)
        hour = np.concatenate([clicked["hour"], hours])
        counts = pd.DataFrame(
            {
                "age_hours": np.minimum((24 * days + LOOK_HOUR - hour) // 1, 168),
                "delay_hours": np.concatenate([clicked["delay"] // 1, np.full(len(hours), np.nan)]),
                "views": np.concatenate([np.ones(len(clicked)), views]),
                "day": days_of(range(-self.earlier, days))[(hour // 24).astype(int) + self.earlier],
            }
        )
        delay = learn_click_delay(counts)
        return dict(completeness_by_day(counts, delay)) if delay is not None and delay.is_whole else None


def late_world(seed: int, *, mean_hours: float, earlier: int = EARLIER_DAYS, ctr: float = CTR) -> LateWorld:
    rng, days = np.random.default_rng([seed, int(10 * mean_hours)]), earlier + DAYS
    effects = draw_effects(np.random.default_rng(seed), worlds=1, days=days)[0]
    own = [np.exp(rng.normal(0, OWN_DAY_SD, days) - OWN_DAY_SD**2 / 2) for _ in range(2)]
    wins = rng.binomial(BIDS, WIN_RATE * effects * own[0])
    day = np.repeat(np.arange(days) - earlier, rng.binomial(wins, ctr))
    hour, delay = 24 * day + rng.uniform(0, 24, len(day)), rng.exponential(mean_hours, len(day))
    clicks = pd.DataFrame({"day": day, "hour": hour, "delay": delay})
    return LateWorld(earlier, wins, wins * CPM / 1000 * own[1], clicks)


def days_of(numbers: Sequence[int]) -> np.ndarray:
    return np.array([FIRST + timedelta(days=number) for number in numbers])


def morning_of(days: int) -> datetime:
    return datetime.combine(FIRST + timedelta(days=days), time(2, 30), UTC)


by_forecast = partial(against_forecast, forecast=FORECAST, limits=LIMITS)


def judged(totals: pd.DataFrame, days: int) -> dict[str, Finding]:
    return {found.figure: found for found in judge_weighed(by_forecast, totals, now=morning_of(days))}


def judged_as_counted(totals: pd.DataFrame, days: int) -> dict[str, Finding]:
    """What was judged before: each day's clicks so far over all of its wins."""
    return {found.figure: found for found in by_forecast(totals)}


Judge = Callable[[pd.DataFrame, int], dict[str, Finding]]


@cache
def mornings(mean_hours: float, earlier: int = EARLIER_DAYS) -> list[list[pd.DataFrame]]:
    """Return what the log shows on each morning from the third on, world by world."""
    worlds = [late_world(seed, mean_hours=mean_hours, earlier=earlier) for seed in SEEDS]
    return [[world.morning(days) for days in range(LIMITS.min_days, DAYS + 1)] for world in worlds]


@cache
def below_target(judge: Judge, mean_hours: float, earlier: int = EARLIER_DAYS) -> dict[str, float]:
    """Return in which share of the worlds each figure is below target on any morning, though it meets its forecast."""
    found = [[judge(totals, len(totals)) for totals in world] for world in mornings(mean_hours, earlier)]
    return {
        figure: float(np.mean([any(look[figure].verdict == "below target" for look in world) for world in found]))
        for figure in ("ctr", "margin")
    }


@pytest.mark.parametrize("mean_hours", [6.0, 20.0, 48.0])
@pytest.mark.parametrize("earlier", [EARLIER_DAYS, 0], ids=["log", "no log before"])
def test_late_clicks_make_good_runs_below_target_no_more_often_than_prompt_ones(mean_hours: float, earlier: int):
    prompt, late = below_target(judged_as_counted, 0.01), below_target(judged, mean_hours, earlier)
    assert all(late[figure] <= share <= 0.05 for figure, share in prompt.items())


@pytest.mark.parametrize("mean_hours", [6.0, 20.0, 48.0])
def test_ctr_and_margin_of_young_days_are_unbiased_and_their_intervals_hold_the_truth(mean_hours: float):
    totals = [late_world(seed, mean_hours=mean_hours).morning(4) for seed in range(60)]
    within_a_week = 1 - np.exp(-168 / mean_hours)
    value = VALUE_PER_CLICK * CTR * within_a_week
    for figure, truth in (("ctr", CTR * within_a_week), ("margin", 1 - CPM / 1000 / value)):
        lives = [judged(each, 4)[figure].live for each in totals]
        assert np.mean([live.value for live in lives]) == pytest.approx(truth, rel=0.025)
        assert np.mean([live.low <= truth <= live.high for live in lives]) >= 0.95


@pytest.mark.parametrize(("mean_hours", "share"), [(6.0, 0.98), (20.0, 0.85), (48.0, 0.62)])
def test_clicks_as_counted_are_too_few_for_the_views_of_young_days(mean_hours: float, share: float):
    lives = [judged_as_counted(looks[1], 4)["ctr"].live.value for looks in mornings(mean_hours)]
    assert np.mean(lives) < share * CTR


def test_a_good_run_is_on_target_days_before_all_of_its_clicks_are_there():
    looks = mornings(48.0)
    weighed = [judged(world[-1], DAYS)["ctr"].verdict for world in looks]
    counted = [judged_as_counted(world[-1], DAYS)["ctr"].verdict for world in looks]
    assert weighed.count("on target") >= 0.8 * len(looks) > 0.2 * len(looks) >= counted.count("on target")


def test_a_click_rate_that_is_halved_is_found_while_clicks_are_still_coming():
    looks = [late_world(seed, mean_hours=20.0, ctr=CTR / 2).morning(6) for seed in range(20)]
    found = [judged(totals, 6)["ctr"].verdict for totals in looks]
    assert found.count("below target") >= 18


def test_where_the_log_does_not_show_the_delay_a_verdict_that_depends_on_it_is_not_given():
    totals = late_world(0, mean_hours=20.0, ctr=CTR / 2).final(6).assign(click_maturity=np.nan)
    assert judged_as_counted(totals, 6)["ctr"].verdict == "below target"
    found = judged(totals, 6)
    assert (found["ctr"].verdict, found["win_rate"].verdict) == ("inconclusive", "on target")
    assert found["ctr"].reason.endswith(NOT_KNOWN) and found["ctr"].live == judged_as_counted(totals, 6)["ctr"].live
    a_week_later = judge_weighed(by_forecast, totals, now=morning_of(6 + 8))
    assert {finding.figure: finding.verdict for finding in a_week_later}["ctr"] == "below target"


def test_a_policy_and_its_control_are_judged_by_the_same_weights():
    policy, control = (late_world(seed, mean_hours=20.0) for seed in (1, 2))
    totals = pd.concat(
        [policy.morning(6).assign(run_id="run"), control.morning(6).assign(run_id="control")], ignore_index=True
    )
    known = {"run": FORECAST, "control": FORECAST}
    judging = {"control_id": "control", "forecasts": known, "limits": LIMITS}
    own, other = (weigh_views(totals[totals["run_id"] == run_id]) for run_id in known)
    alone = judge_weighed(partial(policy_against_forecast, **judging), totals, now=morning_of(6))
    beside = judge_weighed(partial(policy_against_control, **judging), totals, now=morning_of(6))
    assert [found.reason for found in alone] == [found.reason for found in by_forecast(own)]
    as_runs = against_control(own, other, forecast=FORECAST, control_forecast=FORECAST, limits=LIMITS)
    assert [found.reason for found in beside] == [found.reason for found in as_runs]
    assert {found.figure: found.expected for found in alone} == pytest.approx(
        {"win_rate": WIN_RATE, "cpm": CPM, "ctr": CTR, "margin": MARGIN}
    )


def test_the_clicks_still_coming_are_part_of_what_was_gained():
    gained = {"weighed": [], "counted": []}
    for seed in range(40):
        world = late_world(seed, mean_hours=20.0)
        nothing = world.final(4).assign(**dict.fromkeys(("wins", "clicks", "spend", "click_revenue"), 0.0))
        truth = measure_savings(world.final(4), nothing).gained
        gained["weighed"].append(measure_savings(weigh_views(world.morning(4)), nothing).gained / truth)
        gained["counted"].append(measure_savings(world.morning(4), nothing).gained / truth)
    assert np.mean(gained["weighed"]) == pytest.approx(1, abs=0.03)
    assert np.mean(gained["counted"]) < 0.7


def test_clicks_that_come_evenly_are_there_after_a_week():
    shares = [evenly_arrived(FIRST, now=morning_of(days)) for days in (0, 1, 4, 8)]
    assert shares == [0.0, pytest.approx(14.5 / 168), pytest.approx(86.5 / 168), 1.0]


def test_the_sentence_names_the_days_whose_clicks_are_still_coming():
    days = days_of(range(3))
    assert arrival_sentence(dict(zip(days, (1.0, 0.9, 0.63), strict=True))) == (
        "Clicks still coming: 63 % of the clicks of 2026-02-03, 90 % of the clicks of 2026-02-02 have arrived."
    )
    assert arrival_sentence(dict.fromkeys(days, 1.0)) is None
    assert arrival_sentence({}) is None
    assert arrival_sentence(dict(zip(days, (None, None, None), strict=True))).startswith("How late clicks come is not")
