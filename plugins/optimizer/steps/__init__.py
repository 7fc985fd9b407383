"""The tasks of an entity's DAG, one module per task, named as the task. Each step can be repeated."""
