"""A run that goes live by itself never undoes what a newer run or a person did."""

from datetime import timedelta

import pytest
from control_plane.catalog import NOW, open_sample, sample_results, start_sample

from optimizer.control_plane.audit import Author, system
from optimizer.control_plane.deployment_history import read_active, read_history
from optimizer.control_plane.deployments import deploy
from optimizer.control_plane.deployments import promote as promote_run
from optimizer.control_plane.promotions import Promotion
from optimizer.control_plane.registry import register_results
from optimizer.errors import PromotionRefused

SARA = Author("sara@company.com")
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)


def complete(engine, dag_run_id: str, *, began_at=NOW, data_end_at=NOW) -> str:
    run = open_sample(engine, dag_run_id, now=began_at)
    start_sample(engine, run.run_id, data_end_at=data_end_at, now=began_at)
    register_results(engine, run.run_id, results=sample_results(), now=began_at)
    return run.run_id


def promote(engine, run_id: str, *, now=NOW + 10 * MINUTE, days: int = 0):
    by = {"entity_code": "drugs_hcp", "author": system("optimize__drugs_hcp")}
    return promote_run(engine, Promotion(run_id, manual_split_days=days), now=now, **by)


def deploy_by_hand(engine, split, *, now=NOW + 10 * MINUTE, author=SARA):
    return deploy(engine, entity_code="drugs_hcp", split=split, author=author, now=now)


def assert_refused(engine, run_id: str, reason: str) -> None:
    before = read_history(engine, "drugs_hcp")
    with pytest.raises(PromotionRefused, match=reason) as refusal:
        promote(engine, run_id, now=NOW + DAY)
    assert f"entity drugs_hcp: run {run_id} does not go live automatically" in str(refusal.value)
    assert "deploy it with `optimizer deploy` if you want it live" in str(refusal.value)
    assert read_history(engine, "drugs_hcp") == before


def test_the_first_run_and_each_newer_one_go_live_by_themselves(engine):
    yesterday = complete(engine, "yesterday", began_at=NOW - DAY, data_end_at=NOW - DAY)
    promote(engine, yesterday, now=NOW - DAY + MINUTE)
    today = complete(engine, "today")
    assert [row.run_id for row in promote(engine, today)] == [today]


def test_a_retried_promotion_of_the_run_that_is_live_changes_nothing(engine):
    run_id = complete(engine, "today")
    first = promote(engine, run_id)
    assert promote(engine, run_id, now=NOW + DAY) == first
    assert len(read_history(engine, "drugs_hcp")) == 1


def test_a_run_that_was_taken_off_does_not_come_back_by_itself(engine):
    taken_off, replacement = complete(engine, "first"), complete(engine, "second")
    promote(engine, taken_off)
    deploy_by_hand(engine, {replacement: 100}, author=system("deploy"))
    assert_refused(engine, taken_off, "it was live already and was taken off at 2026-02-03 15:10:00 UTC")


def test_a_run_whose_data_end_earlier_than_a_live_runs_does_not_go_live_by_itself(engine):
    today = complete(engine, "today")
    promote(engine, today)
    backfill = complete(engine, "backfill", began_at=NOW + DAY, data_end_at=NOW - DAY)
    assert_refused(engine, backfill, f"run {today}, whose data end at 2026-02-03")
    assert [row.run_id for row in read_active(engine, "drugs_hcp")] == [today]


def test_of_two_runs_over_the_same_data_the_later_one_stays_live(engine):
    slow = complete(engine, "slow")
    quick = complete(engine, "quick", began_at=NOW + MINUTE)
    promote(engine, quick)
    assert_refused(engine, slow, f"run {quick}.*is newer")


def test_a_split_that_a_user_set_since_the_run_began_stays(engine):
    old = complete(engine, "old", began_at=NOW - DAY, data_end_at=NOW - DAY)
    today = complete(engine, "today")
    deploy_by_hand(engine, {old: 100}, now=NOW + MINUTE)
    assert_refused(engine, today, f"sara@company.com deployed run {old} to 100 % of the traffic after this run began")


def test_a_share_that_a_user_gave_the_run_itself_stays(engine):
    old = complete(engine, "old", began_at=NOW - DAY, data_end_at=NOW - DAY)
    today = complete(engine, "today")
    deploy_by_hand(engine, {old: 80, today: 20}, now=NOW + MINUTE)
    assert_refused(engine, today, "20 % of the traffic after this run began")


def test_a_split_that_a_user_set_before_the_run_began_is_replaced(engine):
    old = complete(engine, "old", began_at=NOW - DAY, data_end_at=NOW - DAY)
    deploy_by_hand(engine, {old: 100}, now=NOW - MINUTE)
    today = complete(engine, "today")
    assert [row.run_id for row in promote(engine, today)] == [today]


def test_a_user_may_redeploy_any_passed_run(engine):
    old, today = complete(engine, "old", began_at=NOW - DAY, data_end_at=NOW - DAY), complete(engine, "today")
    deploy_by_hand(engine, {old: 100})
    deploy_by_hand(engine, {today: 100})
    assert [row.run_id for row in deploy_by_hand(engine, {old: 100}, now=NOW + DAY)] == [old]
