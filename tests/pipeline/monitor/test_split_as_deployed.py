"""Whether the bidders split the traffic as deployed, and what waits where they do not."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from pipeline.driver import ENTITY, NOW
from pipeline.first_run import FinishedRun
from pipeline.monitor.watching import (
    active,
    verdicts,
    watch,
)
from pipeline.monitor.worlds import LIVE_DAYS, SECOND

from optimizer.control_plane.alerts import read_open


def test_a_live_run_of_which_the_warehouse_has_no_bids_is_an_alert(live, first_run: FinishedRun):
    pipeline = live("kept", split={first_run.handle.run_id: 80, SECOND: 20})
    split, alert = watch(pipeline)["alerts"]
    assert f"run {SECOND} (20 % of the traffic) was live on {LIVE_DAYS} days, but the warehouse has none" in alert
    assert "the traffic is not split as deployed" in split
    assert verdicts(pipeline, SECOND, "split")["win_rate"].verdict == "inconclusive"


def test_a_split_that_is_not_as_deployed_is_an_alert_and_runs_are_not_compared(live, first_run: FinishedRun):
    run_id = first_run.handle.run_id
    pipeline = live("too_often_halved", split={run_id: 80, SECOND: 20}, auto_rollback="true")
    found = watch(pipeline)
    (alert,) = (text for text in found["alerts"] if "not split as deployed" in text)
    shares = re.search(rf"run {SECOND} was deployed with (\S+) % and has (\S+) % of the bids", alert)
    assert shares is not None and [float(share) for share in shares.groups()] == [20, pytest.approx(30, abs=0.6)]
    assert "The cause is not known; compare the version and `/health` of every bidder" in alert
    beside = verdicts(pipeline, SECOND, "split")
    assert {row.verdict for row in beside.values()} == {"inconclusive"}
    assert beside["win_rate"].reason.endswith(": the traffic is not split as deployed")
    assert verdicts(pipeline, SECOND)["win_rate"].verdict == "below target"
    assert active(pipeline) == {run_id: 80, SECOND: 20} and found["actions"] == []


def test_a_canary_gets_no_more_traffic_while_the_split_is_not_as_deployed(live, first_run: FinishedRun):
    run_id = first_run.handle.run_id
    pipeline = live("too_often", canary=True, plan="20@1d, 50@1d, 100")
    found = watch(pipeline)
    assert found["actions"] == [] and active(pipeline) == {run_id: 80, SECOND: 20}
    assert found["opened"] == found["alerts"] and "not split as deployed" in found["alerts"][0]
    assert [row.kind for row in read_open(pipeline.systems.engine, ENTITY)] == ["split_mismatch"]


def test_a_bidder_that_did_not_refresh_is_named(live, first_run: FinishedRun):
    found = watch(live("not_refreshed", canary=True))
    (alert,) = (text for text in found["alerts"] if "not split as deployed" in text)
    assert "Likely: the bidder has not loaded the split; check `/health` of every bidder" in alert
    assert f"run {SECOND} was deployed with 20 % and has 0 % of the bids" in alert


def test_a_split_is_judged_from_its_first_evening_on(live):
    pipeline = live("too_often", canary=True)
    assert watch(pipeline, now=NOW + timedelta(hours=12))["alerts"] == []
    assert "not split as deployed" in watch(pipeline, now=datetime(2026, 2, 5, 2, 30, tzinfo=UTC))["alerts"][0]
