from airflow.sdk import TriggerRule

from optimizer.orchestration.pending_runs_dag import build_pending_runs_dag


def test_what_was_claimed_long_ago_is_started_before_zombie_runs_are_looked_up():
    dag = build_pending_runs_dag()
    last = dag.get_task("fail_zombie_runs")
    assert dag.get_task("start").upstream_task_ids == {"claim"}
    assert (last.upstream_task_ids, last.trigger_rule) == ({"start"}, TriggerRule.ALL_DONE)
