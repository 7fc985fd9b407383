-- One run.
-- Grain: one row, or none where the caller may not see it. Parameters: run_id.
SELECT {% include '_run_columns.sql' %}
FROM optimization_runs
WHERE id = %(run_id)s
