from airflow.sdk import TriggerRule

from optimizer.orchestration.pending_runs_dag import build_pending_runs_dag


def test_what_was_claimed_long_ago_is_started_before_zombie_runs_are_looked_up():
    dag = build_pending_runs_dag()
    last = dag.get_task("fail_zombie_runs")
    assert dag.get_task("start").upstream_task_ids == {"claim"}
    assert (last.upstream_task_ids, last.trigger_rule) == ({"start"}, TriggerRule.ALL_DONE)


def test_late_snapshots_are_written_whatever_happens_to_the_runs():
    task = build_pending_runs_dag().get_task("write_snapshots")
    assert task.upstream_task_ids == task.downstream_task_ids == set()
