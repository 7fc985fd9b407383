"""Back to an earlier split, the history, and the live numbers, from the command line."""

from datetime import timedelta
from typing import Any

import pytest
from cli.conftest import Command
from control_plane.catalog import NOW, complete_sample
from sqlalchemy import Engine

from optimizer.control_plane import deployments, registry, runs
from optimizer.control_plane.splits import CANARY_PREFIX, percents_of

HOUR = timedelta(hours=1)


@pytest.fixture
def first(engine: Engine) -> str:
    """Return the run that is deployed to all of the traffic."""
    return deployments.read_active(engine, "drugs_hcp")[0].run_id


@pytest.fixture
def second(engine: Engine, first: str) -> str:
    """Return a run that takes a fifth of the traffic."""
    run_id = complete_sample(engine, "fourth", now=NOW + 3 * HOUR)
    split = {first: 80, run_id: 20}
    deployments.deploy(engine, entity_code="drugs_hcp", split=split, deployed_by="anna", now=NOW + 4 * HOUR)
    return run_id


def active(engine: Engine) -> dict[str, int]:
    return percents_of(deployments.read_active(engine, "drugs_hcp"))


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
    deployments.start_canary(engine, entity_code="drugs_hcp", run_id=tried, canary_pct=10, now=NOW + 4 * HOUR)
    newest = optimizer_json("deployments", "drugs_hcp")["splits"][0]
    assert (newest["percents"], newest["canary_run_id"]) == ({first: 90, tried: 10}, tried)
    assert newest["deployed_by"] == CANARY_PREFIX + tried


def test_live_numbers_are_shown_with_interval_forecast_verdict_and_control(
    engine: Engine, optimizer: Command, optimizer_json: Any, first: str, second: str
):
    measured = {"days": 4.0, "last_day": 20260209.0, "traffic_pct": 20.0, "bids": 20_000.0, "wins": 6_100.0}
    measured |= {"clicks": 31.0, "win_rate": 0.305, "win_rate_low": 0.29, "win_rate_high": 0.32}
    measured |= {"win_rate_forecast": 0.3, "win_rate_verdict": 1.0, "win_rate_control": 0.4}
    measured |= {"win_rate_difference": -0.095, "win_rate_control_verdict": -1.0, "cpm": 11.5, "cpm_verdict": 0.0}
    registry.replace_metrics(engine, second, section="live", metrics=measured)
    text = optimizer("live", "drugs_hcp").stdout
    joined = " ".join(text.split())
    assert f"Run {first} (80 %) was not measured yet" in text
    assert f"Run {second}, 20 % of the traffic: 4 days, the last 20260209; 20,000 bids, 6,100 wins, 31 clicks" in joined
    (line,) = (line for line in text.splitlines() if "win_rate" in line)
    shown = ["30.5 %", "29 % to 32 %", "30 %", "on target", "40 %", "-9.5 points", "below target"]
    assert [cell for cell in shown if cell in line] == shown
    assert optimizer_json("live", "drugs_hcp") == {first: {}, second: measured}


def test_an_entity_with_nothing_live_and_one_that_is_not_there(engine: Engine, optimizer: Command):
    assert "Nothing of drugs_com is live" in optimizer("live", "drugs_com").stdout
    for command in ("live", "deployments"):
        result = optimizer(command, "nobody")
        assert result.exit_code == 1 and "nobody" in result.stderr
    assert runs.list_runs(engine, entity_code="drugs_com") == []
