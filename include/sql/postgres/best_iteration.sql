-- The number of a run's best iteration, NULL where none has a score.
-- Grain: one row, or none where the caller may not see the run. Parameters: run_id.
SELECT best_iteration FROM optimization_runs WHERE id = %(run_id)s
