import pytest
from control_plane.catalog import NOW, complete_sample

from optimizer.cli.deploy import parse_split
from optimizer.control_plane import runs
from optimizer.errors import DeploymentError


def test_a_split_is_read_run_by_run():
    split = parse_split(["20260203_150000=80", "20260201_120000=20"], entity_code="drugs_hcp")
    assert split == {"20260203_150000": 80, "20260201_120000": 20}


@pytest.mark.parametrize(
    ("items", "problem"),
    [
        (["20260203_150000"], "'20260203_150000' is not RUN=PERCENT"),
        (["a="], "'a=' is not RUN=PERCENT"),
        (["=80"], "'=80' is not RUN=PERCENT"),
        (["a=8.5"], "run a has '8.5' percent; give it a whole number from 1 to 100"),
        (["a=-5"], "run a has '-5' percent"),
        (["a=all"], "run a has 'all' percent"),
        (["a=100%"], "run a has '100%' percent"),
        (["a=\u0661\u0660\u0660"], "run a has '\u0661\u0660\u0660' percent"),
        (["a=50", "a=50"], "run a is named twice; name each run once"),
    ],
)
def test_an_invalid_split_is_refused_with_the_value_and_an_example(items, problem):
    with pytest.raises(DeploymentError) as refusal:
        parse_split(items, entity_code="drugs_hcp")
    assert str(refusal.value).startswith(f"entity drugs_hcp: {problem}")
    assert str(refusal.value).endswith("write for example 20260203_150000=80 20260201_120000=20")


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
    assert f"run {failed.run_id} is failed; choose a completed run, `optimizer runs drugs_hcp`" in result.stderr
