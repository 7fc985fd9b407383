-- The first iterations of each of several runs.
-- Grain: one row an iteration. Parameters: run_ids, row_limit (of each run).
SELECT
    it.id, it.run_id, it.iteration, it.score, it.iteration IS NOT DISTINCT FROM run.best_iteration AS is_best, it.params,
    it.program, it.samples_in_iteration, it.successful_samples, it.avg_score, it.std_dev, it.iteration_start_time,
    it.iteration_end_time, it.duration_ms, it.tokens_used, it.cost_usd, it.metadata, it.created_at
FROM optimization_runs AS run
CROSS JOIN LATERAL (
    SELECT * FROM optimization_iterations AS own
    WHERE own.run_id = run.id
    ORDER BY own.iteration
    LIMIT %(row_limit)s
) AS it
WHERE run.id = ANY (%(run_ids)s)
ORDER BY it.run_id, it.iteration
