-- A run's iterations by their number.
-- Grain: one row an iteration. Parameters: run_id, row_limit, row_offset; after_iteration (asked: after); iteration
-- (asked: one).
SELECT
    id, run_id, iteration, score, is_best, params, program, samples_in_iteration, successful_samples, avg_score, std_dev,
    iteration_start_time, iteration_end_time, duration_ms, tokens_used, cost_usd, metadata, created_at
FROM optimization_iterations_judged
WHERE run_id = %(run_id)s
    {% if 'one' in asked %}
    AND iteration = %(iteration)s
    {% endif %}
    {% if 'after' in asked %}
    AND iteration > %(after_iteration)s
    {% endif %}
ORDER BY iteration
LIMIT %(row_limit)s OFFSET %(row_offset)s
