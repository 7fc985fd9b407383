-- How long a run's ranges of scores are, NULL where it has none.
-- Grain: one row, none where the caller may not see the run. Parameters: run_id.
SELECT range_size FROM optimization_runs WHERE id = %(run_id)s
