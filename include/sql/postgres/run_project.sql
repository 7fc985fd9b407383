-- The project of a run.
-- Grain: one row, or none where the caller may not see it. Parameters: run_id.
SELECT project_id FROM optimization_runs WHERE id = %(run_id)s
