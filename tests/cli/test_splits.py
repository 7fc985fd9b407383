"""Back to an earlier split, the history, and the live numbers, from the command line."""

import json
from datetime import date, timedelta
from typing import Any

import pytest
from cli.conftest import Command
from control_plane.catalog import NOW, complete_sample
from sqlalchemy import Engine, update

from optimizer.artifacts.serving_snapshot import read_snapshot, snapshot_uri
from optimizer.artifacts.store import ObjectStore
from optimizer.control_plane import canaries, canary_splits, deployment_history, deployments, live_records, runs, tables
from optimizer.control_plane.alerts import Incident, record_incidents
from optimizer.control_plane.audit import Author
from optimizer.control_plane.engine import transaction
from optimizer.control_plane.live_rows import LiveDay, LiveVerdict
from optimizer.control_plane.promotions import Promotion
from optimizer.control_plane.splits import percents_of
from optimizer.core.live.canary_plan import read_plan

HOUR, DAY = timedelta(hours=1), date(2026, 2, 9)


@pytest.fixture
def first(engine: Engine) -> str:
    """Return the run that is deployed to all of the traffic."""
    return deployment_history.read_active(engine, "drugs_hcp")[0].run_id


@pytest.fixture
def second(engine: Engine, first: str) -> str:
    """Return a run that takes a fifth of the traffic."""
    run_id = complete_sample(engine, "fourth", now=NOW + 3 * HOUR)
    split = {first: 80, run_id: 20}
    deployments.deploy(engine, entity_code="drugs_hcp", split=split, author=Author("anna"), now=NOW + 4 * HOUR)
    return run_id


def active(engine: Engine) -> dict[str, int]:
    return percents_of(deployment_history.read_active(engine, "drugs_hcp"))


def test_a_rollback_goes_back_in_the_persons_name(engine: Engine, optimizer_json: Any, first: str, second: str):
    (row,) = optimizer_json("rollback", "drugs_hcp", "--by", "ben", "--unchecked")
    assert (row["run_id"], row["traffic_pct"], row["deployed_by"]) == (first, 100, "ben")
    assert active(engine) == {first: 100}


def test_a_rollback_without_an_earlier_split_is_refused_and_changes_nothing(
    engine: Engine, optimizer: Command, first: str
):
    result = optimizer("rollback", "drugs_hcp", "--unchecked")
    assert result.exit_code == 1
    assert "entity drugs_hcp: there is no earlier split to go back to" in result.stderr
    assert active(engine) == {first: 100}


def test_a_split_whose_files_cannot_be_looked_at_is_not_deployed(
    engine: Engine, optimizer: Command, first: str, second: str
):
    for arguments in (("rollback", "drugs_hcp"), ("deploy", "drugs_hcp", f"{first}=100")):
        result = optimizer(*arguments)
        assert result.exit_code != 0 and "tn-optimizer-data" in result.stderr, result.output
    assert active(engine) == {first: 80, second: 20}


def test_the_splits_are_shown_newest_first_with_who_and_until_when(
    optimizer_json: Any, optimizer: Command, first: str, second: str
):
    shown = optimizer_json("deployments", "drugs_hcp")
    assert [(split["percents"], split["deployed_by"], split["is_active"]) for split in shown["splits"]] == [
        ({first: 80, second: 20}, "anna", True),
        ({first: 100}, "test", False),
    ]
    assert [row["run_id"] for row in shown["active"]] == [first, second]
    assert len(optimizer_json("deployments", "drugs_hcp", "--limit", "1")["splits"]) == 1
    lines = optimizer("deployments", "drugs_hcp").stdout.splitlines()
    (line,) = (line for line in lines if f"{first} 80 %, {second} 20 %" in line)
    assert "live" in line and "anna" in line


def test_a_canary_is_marked(engine: Engine, optimizer_json: Any, first: str):
    tried = complete_sample(engine, "fourth", now=NOW + 3 * HOUR)
    target = {"entity_code": "drugs_hcp", "now": NOW + 4 * HOUR}
    canary_splits.start_canary(engine, Promotion(tried), canary_plan=read_plan("10"), **target)
    newest = optimizer_json("deployments", "drugs_hcp")["splits"][0]
    assert (newest["percents"], newest["canary_run_id"]) == ({first: 90, tried: 10}, tried)
    assert (newest["deployed_by"], newest["source"]) == ("airflow:canary", "canary")


def test_live_numbers_are_shown_with_interval_forecast_verdict_and_control(
    engine: Engine, optimizer: Command, optimizer_json: Any, first: str, second: str
):
    (entity,) = {row.entity_id for row in deployment_history.read_active(engine, "drugs_hcp")}
    shared = {"run_id": second, "first_day": DAY, "last_day": DAY, "days": 4}
    win_rate = {"figure": "win_rate", "live": 0.305, "live_low": 0.29, "live_high": 0.32, "expected": 0.3}
    beside = {"figure": "win_rate", "control": 0.4, "difference": -0.095, "control_run_id": first}
    verdicts = [
        LiveVerdict(compared_with="forecast", verdict="on target", **shared, **win_rate),
        LiveVerdict(compared_with="split", verdict="below target", **shared, **beside),
    ]
    days = [LiveDay(run_id=second, day=DAY, bids=20_000, wins=6_100, clicks=31, click_maturity=0.634)]
    live_records.replace_verdicts(engine, entity, verdicts, measured_on=DAY, now=NOW)
    live_records.replace_days(engine, entity, days, now=NOW)
    seen = [Incident("below_control", f"run {second} is below its control", second)]
    record_incidents(engine, entity, seen, kinds=["below_control"], now=NOW)
    text = optimizer("live", "drugs_hcp").stdout
    joined = " ".join(text.split())
    assert f"Run {first}, 80 % of the traffic, was not measured yet" in joined
    assert f"Run {second}, 20 % of the traffic: 4 days to 2026-02-09; 20,000 bids, 6,100 wins, 31 clicks" in joined
    (line,) = (line for line in text.splitlines() if "win_rate" in line)
    shown = ["30.5 %", "29 % to 32 %", "30 %", "on target", "40 %", "-9.5 points", "below target"]
    assert [cell for cell in shown if cell in line] == shown
    assert "Clicks still coming: 63 % of the clicks of 2026-02-09 have arrived." in joined
    assert f"Alert since 2026-02-03 15:00 UTC: run {second} is below its control" in joined
    found = optimizer_json("live", "drugs_hcp")
    assert [(row["run_id"], row["compared_with"], row["verdict"]) for row in found["verdicts"]] == [
        (second, "forecast", "on target"),
        (second, "split", "below target"),
    ]


def test_pin_control_canary_and_audit_by_hand(
    engine: Engine, optimizer: Command, optimizer_json: Any, first: str, second: str
):
    by = ("--by", "ben", "--comment", "contract")
    (row, _) = optimizer_json("pin", "drugs_hcp", *by)
    assert row["is_pinned"]
    assert optimizer_json("control", "drugs_hcp", first, *by) == {"control_run_id": first, "control_pct": 5}
    assert "No run of drugs_hcp is being tried." in optimizer("canary", "drugs_hcp").stdout
    refused = optimizer("canary", "drugs_hcp", "pause")
    assert refused.exit_code == 1 and "no run is being tried" in refused.stderr
    assert percents_of(deployment_history.read_active(engine, "drugs_hcp")) == {first: 80, second: 20}
    optimizer_json("deploy", "drugs_hcp", f"{second}=100", "--unchecked", *by)
    assert active(engine) == {second: 95, first: 5}
    shown = [(row["actor"], row["action"], row["comment"]) for row in optimizer_json("audit", "drugs_hcp")]
    assert shown[:3] == [("ben", "deploy", "contract"), ("ben", "set_control", "contract"), ("ben", "pin", "contract")]


def test_a_deployment_without_a_control_says_how_to_choose_one(engine: Engine, optimizer: Command, first: str):
    arguments = ("deploy", "drugs_hcp", f"{first}=100", "--unchecked")
    note = "Note: entity drugs_hcp: it is live without a control"
    assert note in " ".join(optimizer(*arguments).stdout.split())
    optimizer("control", "drugs_hcp", first)
    assert "Note:" not in optimizer(*arguments).stdout


def test_a_canary_is_shown_paused_and_taken_off_by_hand(
    engine: Engine, optimizer: Command, optimizer_json: Any, first: str
):
    tried = complete_sample(engine, "fourth", now=NOW + 3 * HOUR)
    target = {"entity_code": "drugs_hcp", "now": NOW + 4 * HOUR}
    canary_splits.start_canary(engine, Promotion(tried), canary_plan=read_plan("5@1d, 20@2d, 100"), **target)
    text = " ".join(optimizer("canary", "drugs_hcp").stdout.split())
    assert f"Run {tried} is tried, running by airflow:canary: step 1 of 2 with 5 %" in text
    assert "next 20 % from 2026-02-04 19:00 UTC" in text
    assert optimizer_json("canary", "drugs_hcp", "pause", "--by", "ben")["status"] == "paused"
    assert "paused by ben" in " ".join(optimizer("live", "drugs_hcp").stdout.split())
    aborted = optimizer("canary", "drugs_hcp", "abort", "--by", "ben")
    assert (aborted.exit_code, active(engine)) == (0, {first: 100})
    # These tests have no object store.
    late = "Note: entity drugs_hcp: the change is made, but the snapshot for bidders without a database is not written"
    assert aborted.stderr.startswith(late)


def test_a_canary_says_what_its_next_step_waits_for(engine: Engine, optimizer: Command, first: str):
    tried = complete_sample(engine, "fourth", now=NOW + 3 * HOUR)
    target = {"entity_code": "drugs_hcp", "now": NOW + 4 * HOUR}
    canary_splits.start_canary(engine, Promotion(tried), canary_plan=read_plan("5@1d, 20@2d, 100"), **target)
    (entity,) = {row.entity_id for row in deployment_history.read_active(engine, "drugs_hcp")}

    def shown(command: str = "canary") -> str:
        return " ".join(optimizer(command, "drugs_hcp").stdout.split())

    first_step = "next 20 % from 2026-02-04 19:00 UTC"
    assert f"{first_step}." in shown()
    seen = [Incident("split_mismatch", "not split as deployed"), Incident("forecast_unreadable", "gone", first)]
    record_incidents(engine, entity, seen, kinds=["split_mismatch", "forecast_unreadable"], now=NOW)
    assert f"{first_step}, once the traffic is split as deployed." in shown()
    optimizer("canary", "drugs_hcp", "pause", "--by", "ben")
    assert f"{first_step}, once it is resumed and the traffic is split as deployed." in shown("live")
    optimizer("canary", "drugs_hcp", "resume", "--by", "ben")
    record_incidents(engine, entity, [], kinds=["split_mismatch", "forecast_unreadable"], now=NOW)
    (running,) = [canaries.read_open(engine, "drugs_hcp")]
    ids = [row.deployment_id for row in deployment_history.read_active(engine, "drugs_hcp")]
    canary_splits.move_canary(engine, running, to_step=2, seen=ids, **target)
    assert "next all the traffic from 2026-02-05 19:00 UTC, once win_rate and cpm are on target." in shown()
    verdict = LiveVerdict(run_id=tried, compared_with="split", figure="win_rate", verdict="on target", days=4)
    live_records.replace_verdicts(engine, entity, [verdict], measured_on=DAY, now=NOW)
    assert "once cpm is on target." in shown("live")


def test_an_entity_with_nothing_live_and_one_that_is_not_there(engine: Engine, optimizer: Command):
    assert "Nothing of drugs_com is live" in optimizer("live", "drugs_com").stdout
    for command in ("live", "deployments"):
        result = optimizer(command, "nobody")
        assert result.exit_code == 1 and "nobody" in result.stderr
    assert runs.list_runs(engine, entity_code="drugs_com") == []


@pytest.fixture
def bucket() -> str:
    return "snapshots"


@pytest.fixture
def served(engine: Engine, store: ObjectStore, bucket: str) -> str:
    """Give every run of drugs_hcp a manifest in the object store, and return the entity's prefix there."""
    prefix = f"s3://{bucket}/drugs_hcp/"
    complete_sample(engine, "fourth", now=NOW + 3 * HOUR)
    with transaction(engine) as connection:
        connection.execute(update(tables.entities).values(s3_base_path=prefix))
    for run in runs.list_runs(engine):
        uri = f"{prefix}runs/{run.run_id}/"
        store.put_bytes(uri + "manifest.json", json.dumps(manifest_of(run.run_id)).encode())
        with transaction(engine) as connection:
            is_this = tables.runs.c.run_id == run.run_id
            connection.execute(update(tables.runs).where(is_this).values(s3_output_path=uri))
    return prefix


def manifest_of(run_id: str) -> dict[str, Any]:
    bidding = {
        "features": ["geo_region_name", "os_code"],
        "macro_combination": "[ADX_GEO_STATE]|[ADX_USER_OS]",
        "macro_format": "adx",
        "fallback_bid_cpm": 5.0,
        "max_bid_cpm": 30.0,
    }
    named = {"run_id": run_id, "run_code": run_id, "entity_code": "drugs_hcp", "created_at": NOW.isoformat()}
    return {**named, "bidding": bidding, "objects": []}


def test_every_command_that_changes_the_split_writes_the_snapshot(
    engine: Engine, store: ObjectStore, served: str, optimizer_json: Any, first: str
):
    def shown() -> tuple[int, dict[str, int]]:
        snapshot = read_snapshot(store, snapshot_uri(served))
        return snapshot.sequence, {run.run_id: run.traffic_pct for run in snapshot.runs}

    fourth = next(run.run_id for run in runs.list_runs(engine) if run.dag_run_id == "fourth")
    target = {"entity_code": "drugs_hcp", "now": NOW + 4 * HOUR}
    canary_splits.start_canary(engine, Promotion(fourth), canary_plan=read_plan("5@1d, 100"), **target)
    optimizer_json("canary", "drugs_hcp", "abort")
    assert shown() == (1, {first: 100})
    optimizer_json("deploy", "drugs_hcp", f"{first}=70", f"{fourth}=30")
    assert shown() == (2, {first: 70, fourth: 30})
    optimizer_json("rollback", "drugs_hcp")
    assert shown() == (3, {first: 100})
