-- How many iterations a run has.
-- Grain: one row, none where the caller may not see the run. Parameters: run_id.
SELECT (SELECT count(*) FROM optimization_iterations AS it WHERE it.run_id = run.id) AS total
FROM optimization_runs AS run
WHERE run.id = %(run_id)s
