-- Iterations added to a run.
-- Grain: one row an iteration, none where the caller may not see the run. Parameters: run_id; rows, a JSON array of objects
-- with the columns' names; max_bytes, which the rows fit into that come back (asked: returning).
{% from '_pages.sql' import fitting %}
{% if 'returning' in asked %}
WITH added AS (
{% endif %}
INSERT INTO optimization_iterations (
    project_id, run_id, iteration, score, params, program, samples_in_iteration, successful_samples, avg_score, std_dev,
    iteration_start_time, iteration_end_time, duration_ms, tokens_used, cost_usd, metadata
)
SELECT
    run.project_id, run.id, given.iteration, given.score, given.params, given.program, given.samples_in_iteration,
    given.successful_samples, given.avg_score, given.std_dev, given.iteration_start_time, given.iteration_end_time,
    coalesce(
        given.duration_ms,
        round(extract(epoch FROM given.iteration_end_time - given.iteration_start_time) * 1000)::bigint
    ),
    given.tokens_used, given.cost_usd, given.metadata
FROM optimization_runs AS run
CROSS JOIN json_to_recordset(%(rows)s::json) AS given (
    iteration integer, score double precision, params jsonb, program jsonb, samples_in_iteration bigint,
    successful_samples bigint, avg_score double precision, std_dev double precision, iteration_start_time timestamptz,
    iteration_end_time timestamptz, duration_ms bigint, tokens_used bigint, cost_usd double precision, metadata jsonb
)
WHERE run.id = %(run_id)s
{% if 'returning' in asked %}
RETURNING
    id, run_id, iteration, score, false AS is_best, params, program, samples_in_iteration, successful_samples, avg_score,
    std_dev, iteration_start_time, iteration_end_time, duration_ms, tokens_used, cost_usd, metadata, created_at, bytes
)
{% call fitting('iteration') %}
SELECT * FROM added
{% endcall %}
{% endif %}
