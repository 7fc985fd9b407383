"""What a replay of live days leaves in the control plane and in the warehouse."""

from datetime import UTC, date, datetime, timedelta

import pandas as pd
import pytest
from servers.replayed import FIRST_DAY, MISTAKEN_ENTITY, UNTIL, Replayed
from sqlalchemy import select

from lab import history
from lab.history.replaying import LOOKED_AT
from lab.history.story import CANARY_DAY, OUTAGE_DAY
from optimizer.control_plane import alerts, deployment_history, live_records, runs, tables
from optimizer.control_plane.engine import reading
from optimizer.control_plane.splits import Split
from optimizer.deployment.readiness import read_statuses

CANARY_AT = FIRST_DAY + timedelta(days=CANARY_DAY)
LIVE_TABLES = [
    *(tables.runs, tables.deployments, tables.canaries, tables.alerts, tables.audit),
    *(tables.live_daily, tables.live_verdicts, tables.live_savings),
]


@pytest.fixture
def splits(replayed: Replayed) -> list[Split]:
    """Return the splits of the client, the oldest first."""
    return deployment_history.read_splits(replayed.systems.engine, history.ENTITY)[::-1]


def control_of(replayed: Replayed) -> str:
    return f"control_{replayed.history.runs[0].run_id}"


@pytest.fixture(scope="module")
def bids(replayed: Replayed) -> pd.DataFrame:
    """Return bid_ts and run_id of the client's bids of the live days."""
    with replayed.systems.connect_warehouse() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT bid_ts, run_id FROM BIDS WHERE bid_ts >= %s", (FIRST_DAY.isoformat(),))
        return cursor.fetch_pandas_all().rename(columns=str.lower)


def test_a_run_is_made_every_morning_but_while_a_canary_is_tried(replayed: Replayed):
    mornings = {run.created_at.date() for run in replayed.history.runs}
    waiting = {CANARY_AT + timedelta(days=number) for number in (1, 2, 3)}
    days = {FIRST_DAY + timedelta(days=number) for number in range((UNTIL - FIRST_DAY).days)}
    assert mornings == days - waiting
    assert {run.trigger_type for run in replayed.history.runs} == {"cron"}


def test_the_first_run_is_approved_by_a_user_and_leaves_a_control(replayed: Replayed, splits: list[Split]):
    first = replayed.history.runs[0].run_id
    assert dict(splits[0].percents) == {first: 95, control_of(replayed): 5}
    assert splits[0].deployed_by == "anna (approved in Airflow)"


def test_the_run_of_a_morning_without_warehouse_failed_and_the_next_one_closed_the_incident(replayed: Replayed):
    (failed,) = [run for run in replayed.history.runs if run.status == "failed"]
    assert failed.created_at.date() == FIRST_DAY + timedelta(days=OUTAGE_DAY)
    assert "the warehouse did not answer" in (failed.error_message or "")
    with reading(replayed.systems.engine) as connection:
        is_kind = (tables.alerts.c.entity_id == failed.entity_id, tables.alerts.c.kind == "run_failed")
        (incident,) = connection.execute(select(tables.alerts).where(*is_kind)).mappings()
    assert failed.run_id in incident["message"]
    assert incident["closed_at"] - incident["opened_at"] == timedelta(days=1)


def test_a_canary_gets_more_traffic_in_steps_and_then_all_but_the_control_s(replayed: Replayed, splits: list[Split]):
    run_id, control = replayed.history.canary_run_id, control_of(replayed)
    assert run_id is not None
    steps = [split for split in splits if split.canary_run_id == run_id]
    assert [(split.percents[run_id], split.percents[control]) for split in steps] == [(20, 5), (50, 5)]
    promoted = splits[splits.index(steps[-1]) + 1]
    assert (dict(promoted.percents), promoted.deployed_by) == ({run_id: 95, control: 5}, "airflow:monitor")
    with reading(replayed.systems.engine) as connection:
        (canary,) = connection.execute(select(tables.canaries)).mappings()
    assert (canary["run_id"], canary["status"]) == (run_id, "promoted")


def test_each_live_day_is_measured_and_money_was_saved_against_the_control(replayed: Replayed):
    engine, control = replayed.systems.engine, control_of(replayed)
    measured = live_records.read_days(engine, history.ENTITY)
    days = [FIRST_DAY + timedelta(days=number) for number in range((UNTIL - FIRST_DAY).days)]
    assert sorted(day.day for day in measured if day.run_id == control) == days
    assert {day.day for day in measured if day.run_id != control} == set(days)
    savings = {row.period: row for row in live_records.read_savings(engine, history.ENTITY)}
    whole = savings["since_start"]
    assert (whole.run_id, whole.days, whole.first_day) == (control, len(days), days[0])
    assert whole.saved > 0 and whole.saved_low < whole.saved < whole.saved_high


def test_a_mistaken_run_of_another_client_leaves_an_open_alert(replayed: Replayed):
    engine, run_id = replayed.systems.engine, replayed.history.mistaken_run_id
    assert run_id is not None
    (alert,) = alerts.read_open(engine, MISTAKEN_ENTITY)
    assert alert.kind == "run_failed" and run_id in alert.message
    assert runs.read_run(engine, run_id).triggered_by == "ben"
    words = {status.entity_code: status.readiness.word for status in read_statuses(engine, now=_look_of(UNTIL))}
    assert words[MISTAKEN_ENTITY] == "failed" and words[history.ENTITY] != "no data"


def test_every_row_is_of_a_moment_of_the_replayed_days(replayed: Replayed):
    earliest, latest = _look_of(FIRST_DAY), _look_of(UNTIL)
    with reading(replayed.systems.engine) as connection:
        for table in LIVE_TABLES:
            for row in connection.execute(select(table)).mappings():
                moments = [value for name, value in row.items() if isinstance(value, datetime) and "data_" not in name]
                assert all(earliest <= moment <= latest for moment in moments), (table.name, dict(row))


def test_each_bid_is_of_a_run_that_was_live_at_its_time_in_the_split_s_shares(bids: pd.DataFrame, splits: list[Split]):
    for split in splits:
        begin, end = (None if moment is None else _naive(moment) for moment in (split.deployed_at, split.ended_at))
        of_split = bids[(bids["bid_ts"] >= begin) & (bids["bid_ts"] < (end or _naive(_look_of(UNTIL))))]
        if split is splits[-1]:
            assert of_split.empty, "the canary was promoted after the last day"
            continue
        shares = of_split["run_id"].value_counts(normalize=True)
        assert set(shares.index) == set(split.percents)
        allowed = 4 * (0.25 / len(of_split)) ** 0.5
        assert all(abs(shares[run_id] - pct / 100) < allowed for run_id, pct in split.percents.items())


def test_days_that_were_replayed_are_served_again_bid_by_bid(replayed: Replayed, bids: pd.DataFrame):
    again = history.serve_again(replayed.systems, replayed.client, first_day=FIRST_DAY, until=UNTIL)
    served = again.bids.select(["bid_ts", "run_id"]).to_pandas()
    columns = ["bid_ts", "run_id"]
    kept = bids.sort_values(columns, ignore_index=True)
    pd.testing.assert_frame_equal(served.sort_values(columns, ignore_index=True), kept, check_dtype=False)


def _look_of(day: date) -> datetime:
    return datetime.combine(day, LOOKED_AT)


def _naive(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(tzinfo=None)
