"""Deployments as splits: how rows make one, which way back a rollback takes, and how a canary shares the traffic."""

from datetime import timedelta

import pytest
from control_plane.catalog import NOW

from optimizer.control_plane.records import Deployment
from optimizer.control_plane.splits import earlier_splits, group_splits, read_split, with_share
from optimizer.errors import DeploymentError

SECOND = timedelta(seconds=1)


def row(number: int, run_id: str, percent: int, *, at: int = 0, by: str = "anna", active: bool = False) -> Deployment:
    return Deployment(
        deployment_id=number,
        run_id=run_id,
        entity_id=1,
        traffic_pct=percent,
        is_active=active,
        deployed_by=by,
        deployed_at=NOW + at * SECOND,
        deactivated_at=None if active else NOW + (at + 1) * SECOND,
    )


def history(*splits: dict[str, int]) -> list:
    rows = [(run_id, percent, at) for at, split in enumerate(splits) for run_id, percent in split.items()]
    return group_splits([row(number, run_id, percent, at=at) for number, (run_id, percent, at) in enumerate(rows)])


def way_back(*splits: dict[str, int]) -> list[dict[str, int]]:
    return [dict(split.percents) for split in earlier_splits(history(*splits), present=splits[-1])]


def test_rows_of_one_moment_and_person_are_one_split_and_know_when_it_ended():
    old, live = group_splits([row(1, "a", 80), row(2, "b", 20), row(3, "b", 100, at=5, active=True)])
    assert (dict(old.percents), old.ended_at, old.is_active) == ({"a": 80, "b": 20}, NOW + SECOND, False)
    assert (dict(live.percents), live.ended_at, live.is_active) == ({"b": 100}, None, True)


def test_two_splits_of_the_same_moment_and_person_stay_two():
    splits = group_splits([row(1, "a", 100), row(2, "b", 60), row(3, "a", 40), row(4, "c", 100, active=True)])
    assert [dict(split.percents) for split in splits] == [{"a": 100}, {"b": 60, "a": 40}, {"c": 100}]


def test_a_split_that_others_left_incomplete_is_reported():
    (split,) = group_splits([row(1, "a", 80, active=True)])
    assert split.total_pct == 80


@pytest.mark.parametrize(
    ("splits", "back"),
    [
        ([{"a": 100}], []),
        ([{"a": 100}, {"b": 100}, {"c": 100}], [{"b": 100}, {"a": 100}]),
        # After a rollback from b to a, one more goes behind a and not to b again.
        ([{"z": 100}, {"a": 100}, {"b": 100}, {"a": 100}], [{"z": 100}]),
        ([{"a": 100}, {"b": 100}, {"a": 100}, {"c": 100}], [{"a": 100}]),
        ([{"a": 100}, {"a": 90, "b": 10}, {"a": 50, "b": 50}], [{"a": 90, "b": 10}, {"a": 100}]),
    ],
)
def test_one_rollback_after_the_other_goes_further_back_and_none_returns(splits, back):
    assert way_back(*splits) == back


def test_what_is_active_now_counts_though_others_made_it_by_their_own_sql():
    splits = history({"a": 100}, {"b": 100}, {"c": 100})
    assert [dict(split.percents) for split in earlier_splits(splits, present={"b": 100})] == [{"a": 100}]
    assert dict(earlier_splits(splits, present={"x": 70})[0].percents) == {"c": 100}


@pytest.mark.parametrize(
    ("active", "split"),
    [
        ({}, {"new": 100}),
        ({"a": 100}, {"a": 90, "new": 10}),
        ({"a": 50, "b": 50}, {"a": 45, "b": 45, "new": 10}),
        ({"a": 34, "b": 33, "c": 33}, {"a": 30, "b": 30, "c": 30, "new": 10}),
        ({"a": 99, "b": 1}, {"a": 89, "b": 1, "new": 10}),
        ({"a": 60, "b": 20}, {"a": 68, "b": 22, "new": 10}),  # the SQL of others: these sum to 80
    ],
)
def test_a_canary_leaves_the_rest_to_the_active_runs_as_they_shared_it(active, split):
    assert with_share(active, run_id="new", pct=10) == split


@pytest.mark.parametrize("canary_pct", [1, 7, 33, 50])
def test_shares_next_to_a_canary_are_whole_and_sum_to_100(canary_pct):
    active = {f"r{number}": share for number, share in enumerate((1, 1, 2, 3, 30, 63))}
    split = with_share(active, run_id="new", pct=canary_pct)
    assert sum(split.values()) == 100 and split["new"] == canary_pct
    assert all(type(share) is int and share > 0 for share in split.values())


@pytest.mark.parametrize(
    "given",
    ["a=80 b=20", "a=80,b=20", " a=80,\n b=20 ", '{"a": 80, "b": 20}', {"a": 80, "b": 20}],
)
def test_a_split_is_read_from_text_json_and_mapping(given):
    assert read_split(given, entity_code="hcp") == {"a": 80, "b": 20}


@pytest.mark.parametrize("given", ["a", "a=80 a=20", "a=x", "{a: 80}", '{"a": 80', '{"a": 40, "a": 100}'])
def test_an_invalid_split_is_refused_with_an_example(given):
    with pytest.raises(DeploymentError, match=r"^entity hcp: .* write for example 20260203_150000=80"):
        read_split(given, entity_code="hcp")


def test_a_run_that_stands_twice_in_json_is_named():
    with pytest.raises(DeploymentError, match="entity hcp: run a is named twice; name each run once"):
        read_split('{"a": 40, "b": 60, "a": 100}', entity_code="hcp")
