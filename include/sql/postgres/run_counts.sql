-- How many rows of each kind a run has.
-- Grain: one row, none where the caller may not see the run. Parameters: run_id.
SELECT iterations_stored, samples_stored, correct_samples, wrong_samples FROM optimization_runs WHERE id = %(run_id)s
