"""Whether a run is called better: only where what was measured says so."""

from datetime import UTC, date, datetime, timedelta

import pytest

from optimizer.console.answers.compare_evidence import changes_of_forecasts, evidence_of
from optimizer.console.answers.run_forecast import Number
from optimizer.control_plane.live_rows import LiveDay
from optimizer.control_plane.records import Run

EARLIER, LATER = "20260201_060000", "20260202_060000"


def run(run_id: str, *, active: str | None = None) -> Run:
    moment = datetime(2026, 2, 1, tzinfo=UTC)
    names = dict.fromkeys(Run.model_fields)
    given = {"run_id": run_id, "run_code": run_id, "entity_id": 1, "version_id": 1, "status": "completed"}
    texts = {"triggered_by": "cron", "trigger_type": "scheduled", "created_at": moment, "is_dry_run": False}
    return Run.model_validate(names | given | texts | {"config_snapshot": {"inputs": {"active_run_id": active}}})


def live_days(*, later_spend: float, clicks: int = 40, wobble: float = 0.5) -> list[LiveDay]:
    """Ten days of both runs; the earlier run has three times the later one's traffic."""
    days = []
    for n in range(10):
        day, noise = date(2026, 2, 3) + timedelta(days=n), wobble * (n % 2)
        shared = {"day": day, "view_revenue": 0.0}
        days += [
            LiveDay(run_id=EARLIER, bids=3000, wins=900, clicks=3 * clicks, spend=27.0, click_revenue=45.0, **shared),
            LiveDay(
                run_id=LATER,
                bids=1000,
                wins=300,
                clicks=clicks,
                spend=later_spend + noise,
                click_revenue=15.0,
                **shared,
            ),
        ]
    return days


def forecasts(*, spend: tuple[float, float], margin: tuple[float, float]):
    sides = [
        [
            Number(name="expected_spend_per_day", label="spend a day", value=spend[place]),
            Number(name="expected_margin", label="margin", value=margin[place]),
        ]
        for place in (0, 1)
    ]
    return changes_of_forecasts(*sides)


def evidence(days=(), metrics=None, *, active: str | None = None):
    found = evidence_of(
        days,
        metrics or {},
        forecasts(spend=(30.0, 36.0), margin=(0.4, 0.25)),
        before=run(EARLIER),
        after=run(LATER, active=active),
    )
    return {one.kind: one for one in found}


@pytest.mark.parametrize(("later_spend", "side"), [(6.0, "better"), (12.0, "worse"), (9.0, "not clear")])
def test_a_run_is_better_where_it_kept_more_of_the_same_traffic_on_the_same_days(later_spend, side):
    live = evidence(live_days(later_spend=later_spend, wobble=1.0))["live"]
    kept = 15.0 - (later_spend + 0.5) - (45.0 - 27.0) / 3  # a day, on the later run's traffic
    assert (live.side, live.days) == (side, 10)
    assert live.per_day == pytest.approx(4 * kept)  # at all traffic
    assert live.low < live.per_day < live.high


def test_few_clicks_or_wins_call_no_run_better_however_wide_the_gap():
    live = evidence(live_days(later_spend=1.0, clicks=4))["live"]
    assert live.low > 0 and live.side == "not clear"
    assert "One of them had 40 clicks; 50 clicks of each are needed to judge." in live.sentence


def test_a_day_whose_spend_is_not_known_counts_nothing():
    days = live_days(later_spend=6.0)
    unknown = [day.model_copy(update={"spend": None}) if day.day == date(2026, 2, 3) else day for day in days]
    assert evidence(unknown)["live"].days == 9
    assert "live" not in evidence([day.model_copy(update={"spend": None}) for day in days])


def test_a_backtest_counts_only_against_the_run_that_it_was_made_against():
    figures = {"surplus_difference": 28.0, "surplus_difference_low": 7.0, "surplus_difference_high": 49.0, "days": 7.0}
    found = evidence(metrics={"backtest": figures}, active=EARLIER)["backtest"]
    assert (found.side, found.per_day, found.low, found.high, found.days) == ("better", 4.0, 1.0, 7.0, 7)
    assert "backtest" not in evidence(metrics={"backtest": figures}, active="20260101_060000")


def test_forecasts_alone_are_never_clear():
    found = evidence()
    assert list(found) == ["forecast"]
    kept = [30.0 * 0.4 / 0.6, 36.0 * 0.25 / 0.75]
    assert found["forecast"].per_day == pytest.approx(kept[1] - kept[0])
    assert (found["forecast"].side, found["forecast"].low) == ("not clear", None)
