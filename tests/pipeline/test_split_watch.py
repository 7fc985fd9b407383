"""Which counts of the warehouse decide whether the traffic is split as deployed."""

from datetime import UTC, date, datetime, timedelta

import pandas as pd
import pytest

from optimizer.control_plane.records import Deployment
from optimizer.deployment.split_watch import judge_split, mismatch, split_window
from optimizer.warehouse.split_counts import SplitCounts

DEPLOYED = datetime(2026, 2, 4, 6, tzinfo=UTC)
HONEST = {"a": 800.0, "b": 200.0}


def deployment(number: int, run_id: str, pct: int) -> Deployment:
    return Deployment(
        deployment_id=number,
        run_id=run_id,
        entity_id=1,
        traffic_pct=pct,
        is_active=True,
        deployed_by="anna",
        deployed_at=DEPLOYED,
        deactivated_at=None,
    )


ACTIVE = [deployment(1, "a", 80), deployment(2, "b", 20)]


def counts_of(bids: dict[str, float], *, ids: dict[str, float], named_share: float) -> SplitCounts:
    return SplitCounts(
        by_day=pd.DataFrame([(DEPLOYED.date(), *item) for item in bids.items()], columns=["day", "run_id", "bids"]),
        by_place=pd.DataFrame(columns=["dimension", "value", "run_id", "bids"]),
        named_bids={run_id: named_share * number for run_id, number in bids.items()},
        ids=ids,
        largest_id_bids=1.0,
    )


@pytest.mark.parametrize(("named_share", "is_off"), [(1.0, True), (0.5, False)])
def test_ids_decide_where_nearly_all_bids_have_one(named_share: float, is_off: bool):
    counts = counts_of(HONEST, ids={"a": 500.0, "b": 500.0}, named_share=named_share)
    found = judge_split(counts, history=ACTIVE, active=ACTIVE)
    assert found.is_off is is_off and (mismatch("x", found) is not None) is is_off


def test_bids_of_the_runs_of_other_systems_do_not_count():
    counts = counts_of(HONEST | {"theirs": 9_000.0}, ids={"theirs": 900.0}, named_share=1.0)
    assert not judge_split(counts, history=ACTIVE, active=ACTIVE).is_off


def test_the_window_begins_an_hour_after_the_split_and_has_a_longest_length():
    ask = {"object_id": 7, "longest": timedelta(days=30)}
    assert split_window(ACTIVE, end_day=date(2026, 2, 4), **ask) is None
    window = split_window(ACTIVE, end_day=date(2026, 2, 6), **ask)
    assert window is not None and window.data_start_at == DEPLOYED + timedelta(hours=1)
    late = split_window(ACTIVE, end_day=date(2026, 4, 6), **ask)
    assert late is not None and late.data_end_at - late.data_start_at == timedelta(days=30)
