import pytest
from control_plane.catalog import NOW, complete_sample

from optimizer.cli.deploy import parse_split
from optimizer.control_plane import runs
from optimizer.errors import DeploymentError


def test_a_split_is_read_run_by_run():
    assert parse_split(["20260203_150000=80", "20260201_120000=20"]) == {"20260203_150000": 80, "20260201_120000": 20}


@pytest.mark.parametrize("items", [["20260203_150000"], ["=80"], ["a=8.5"], ["a=-5"], ["a=50", "a=50"]])
def test_an_invalid_split_is_refused_with_an_example(items):
    with pytest.raises(DeploymentError, match="write for example 20260203_150000=80"):
        parse_split(items)


def test_a_user_splits_the_traffic_and_sees_it(engine, optimizer_json):
    first = next(run for run in runs.list_runs(engine) if run.validation_status == "passed")
    other = complete_sample(engine, "fourth", now=NOW.replace(hour=18))
    shown = optimizer_json("deploy", "drugs_hcp", f"{first.run_id}=80", f"{other}=20", "--by", "trader", "--unchecked")
    assert [(row["run_id"], row["traffic_pct"], row["deployed_by"]) for row in shown] == [
        (first.run_id, 80, "trader"),
        (other, 20, "trader"),
    ]
    (row,) = (row for row in optimizer_json("entities")["entities"] if row["entity_code"] == "drugs_hcp")
    assert (row["traffic"], row["active_run_id"]) == ({first.run_id: 80, other: 20}, first.run_id)


def test_a_run_that_may_not_go_live_is_refused_with_the_reason(engine, optimizer):
    failed = next(run for run in runs.list_runs(engine) if run.status == "failed")
    result = optimizer("deploy", "drugs_hcp", f"{failed.run_id}=100", "--unchecked")
    assert result.exit_code == 1
    assert f"run {failed.run_id} is failed; choose a completed run" in result.stderr
