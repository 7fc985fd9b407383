import pytest

from optimizer.orchestration.monitor_dag import PARTS, build_monitor_dag, parts_of

AIRFLOWS_MOST = 1_024
"""`max_map_length`, as Airflow ships it."""


@pytest.mark.parametrize("count", [0, 1, PARTS, 1_000, 5_000])
def test_entities_are_looked_at_by_a_fixed_number_of_tasks_each_exactly_once(count):
    codes = [f"client_{number}" for number in range(count)]
    parts = parts_of(codes)
    assert len(parts) == min(count, PARTS) <= AIRFLOWS_MOST
    assert sorted(code for part in parts for code in part) == sorted(codes)
    assert not parts or max(map(len, parts)) - min(map(len, parts)) <= 1


def test_alerts_are_raised_whatever_became_of_the_parts():
    dag = build_monitor_dag()
    assert dag.get_task("raise_alerts").upstream_task_ids == {"watch", "list_entities"}
    assert dag.get_task("watch").is_mapped
