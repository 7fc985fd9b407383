"""What training learns of clicks while they are still coming, beside what it would learn once all have come."""

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta

import numpy as np
import pandas as pd
import pytest
from core.worlds import logistic_cells

from lab.evaluation.log import extract_log
from lab.market.events import generate_events
from lab.market.presets import PRESETS
from lab.market.world import World
from optimizer.core.landscape.cells import group_cells, prepare_cells
from optimizer.core.landscape.click_delay import count_click_views
from optimizer.core.pricing.multipliers import (
    BidResponse,
    domain_effects,
    domain_multipliers,
    npi_effects,
    npi_multipliers,
)
from optimizer.training.fitting import FittedModels, fit
from optimizer.training.job import TrainingJob

FIRST_DAY, DAYS = date(2026, 1, 5), 10
END_DAY = FIRST_DAY + timedelta(days=DAYS)
FEATURES = ("adspace", "region")
MATURITY = {FIRST_DAY + timedelta(days=DAYS - 1 - age): share for age, share in enumerate((0.2, 0.5, 0.7, 0.85))}
"""By day, of cells whose late clicks are left out by hand."""


@dataclass(frozen=True)
class LateLog:
    """Clicks over the views that they are compared with: with all clicks, and as a log shows it on the next morning."""

    final: float
    counted: float
    weighed: float


@pytest.fixture(scope="module")
def late_logs() -> list[LateLog]:
    """Return logs of ten days of a simulated market whose clicks come 20 hours after their views in the mean."""
    settings = replace(PRESETS["drugs_hcp"], click_rate=0.02, click_delay_hours=20.0)
    found = []
    for seed in range(1, 4):
        events = generate_events(World.create(seed, settings=settings), start_day=FIRST_DAY, days=DAYS, bids=60_000)
        morning = events.until(datetime.combine(END_DAY, time(2, 30), UTC))
        log = extract_log(morning, object_id=settings.object_id, end_day=END_DAY, days=DAYS)
        cells = count_click_views(log.cells, log.click_maturity)
        wins, clicks, views = (cells[name].sum() for name in ("wins", "clicks", "click_views"))
        found.append(LateLog(len(events.clicks) / len(events.views), clicks / wins, clicks / views))
    return found


def test_the_click_rate_of_a_log_is_that_with_all_of_its_clicks(late_logs: list[LateLog]):
    weighed, counted = ([getattr(log, name) / log.final for log in late_logs] for name in ("weighed", "counted"))
    assert np.mean(weighed) == pytest.approx(1, abs=0.02) and min(weighed) > 0.95
    assert np.mean(counted) < 0.94


def cells_of(seed: int, *, click_rate: float = 0.05) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return cells with all of their clicks, and the same ones without those that are still coming by MATURITY."""
    rng = np.random.default_rng(seed)
    cells = logistic_cells(seed, bids=40_000, days=DAYS)
    full = cells.assign(clicks=rng.binomial(cells["wins"], click_rate))
    arrived = full["day"].dt.date.map(MATURITY).fillna(1.0)
    late = full.assign(clicks=rng.binomial(full["clicks"], arrived))
    return tuple(cells.assign(click_revenue=5.0 * cells["clicks"]) for cells in (full, late))


def fitted(cells: pd.DataFrame) -> FittedModels:
    totals = {"total_views": int(cells["wins"].sum()), "total_clicks": int(cells["clicks"].sum())}
    job = TrainingJob(features=FEATURES, half_life_days=21.0, seed=1, threads=1, **totals)
    return fit(job, group_cells(prepare_cells(cells, FEATURES), FEATURES))


def mean_rate(models: FittedModels) -> float:
    return float(np.average(models.segments["click_rate"], weights=models.segments["wins"]))


def test_trained_click_rates_are_those_with_all_clicks():
    full, late = cells_of(3)
    truth, weighed, counted = (fitted(cells) for cells in (full, count_click_views(late, MATURITY), late))
    for rate in (mean_rate, lambda models: models.report.global_click_rate):
        assert rate(weighed) == pytest.approx(rate(truth), rel=0.03)
        assert rate(counted) < 0.9 * rate(truth)
    assert weighed.report.value_per_click == pytest.approx(truth.report.value_per_click)
    assert weighed.report.slope == counted.report.slope


def test_a_domain_of_the_last_days_is_not_taken_for_one_that_is_clicked_less():
    full, _ = cells_of(4)
    is_new = full["day"].dt.date == END_DAY - timedelta(days=1)
    rng = np.random.default_rng(4)
    cells = full.assign(
        domain=np.where(is_new, "new.example", "old.example"),
        clicks=rng.binomial(full["clicks"], np.where(is_new, 0.2, 1.0)),
        multiplied_bids=0,
        log_multiplier_sum=0.0,
    )
    only_clicks = BidResponse(to_price=0.0, to_click_rate=1.0)
    weighed, counted = (
        domain_multipliers(domain_effects(each, slope=2.0), response=only_clicks).set_index("domain")["multiplier"]
        for each in (count_click_views(cells, MATURITY), cells)
    )
    assert counted["new.example"] < 0.7
    assert weighed.tolist() == pytest.approx([1.0, 1.0], abs=0.02)


def test_a_professional_of_the_last_days_is_not_taken_for_one_that_clicks_less():
    rng = np.random.default_rng(5)
    days = [END_DAY - timedelta(days=1), FIRST_DAY]
    totals = pd.DataFrame({"npi": [f"9{n:09d}" for n in range(600)], "day": days * 300, "bids": 900, "wins": 300})
    arrived = totals["day"].map(MATURITY).fillna(1.0)
    clicks = rng.binomial(rng.poisson(300 * rng.gamma(0.5, 0.02, 600)), arrived)
    totals = totals.assign(clicks=clicks, multiplied_bids=0, log_multiplier_sum=0.0)
    only_clicks = BidResponse(to_price=0.0, to_click_rate=1.0)
    weighed, counted = (
        npi_multipliers(npi_effects(each), response=only_clicks).set_index("npi")["multiplier"].loc[totals["npi"]]
        for each in (count_click_views(totals, MATURITY), totals.assign(click_views=totals["wins"]))
    )
    is_young = np.tile([True, False], 300)
    assert counted[is_young].mean() < 0.75 * counted[~is_young].mean()
    assert weighed[is_young].mean() == pytest.approx(weighed[~is_young].mean(), rel=0.05)


def test_totals_that_an_earlier_release_staged_without_days_count_every_view():
    totals = pd.DataFrame({"npi": ["9000000001"], "wins": [11], "clicks": [1]})
    assert count_click_views(totals, MATURITY)["click_views"].tolist() == [11.0]


def test_a_clicked_view_counts_whole_and_another_by_the_share_of_its_clicks_that_has_arrived():
    cells = pd.DataFrame({"day": [date(2026, 1, 14), date(2026, 1, 5)], "wins": [11, 11], "clicks": [1, 1]})
    assert count_click_views(cells, MATURITY)["click_views"].tolist() == [pytest.approx(1 + 0.2 * 10), 11.0]
    assert prepare_cells(logistic_cells(1, bids=100), FEATURES).eval("click_views == wins").all()
