-- The run that an Idempotency-Key made, and what it was asked for.
-- Grain: one row, or none where the run is deleted. Parameters: project_id, creation_key.
SELECT creation_sha256, {% include '_run_columns.sql' %}
FROM optimization_runs
WHERE project_id = %(project_id)s AND creation_key = %(creation_key)s
