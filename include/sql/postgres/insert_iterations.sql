-- Iterations added to a run.
-- Grain: one row an iteration, none where the caller may not see the run. Parameters: run_id; rows, a JSON array of objects
-- with the API's names; max_bytes, which the rows fit into that come back (asked: returning).
{% from '_pages.sql' import fitting %}
{% if 'returning' in asked %}
WITH added AS (
{% endif %}
INSERT INTO optimization_iterations (
    id, project_id, run_id, iteration, score, params, program, samples_in_iteration, successful_samples, avg_score,
    std_dev, iteration_start_time, iteration_end_time, duration_ms, tokens_used, cost_usd, metadata
)
SELECT
    {% with batch_id = 'batch.id' %}{% include '_row_id.sql' %}{% endwith %}, run.project_id, run.id, given.iteration,
    given.score, coalesce(given.params, '{}'), given.program, given."samplesInIteration", given."successfulSamples",
    given."avgScore", given."stdDev", given."iterationStartTime", given."iterationEndTime",
    coalesce(
        given."durationMs",
        CASE WHEN given."iterationEndTime" >= given."iterationStartTime" -- else its clock was set back
            THEN round(extract(epoch FROM given."iterationEndTime" - given."iterationStartTime") * 1000)::bigint END
    ),
    given."tokensUsed", given."costUsd", coalesce(given.metadata, '{}')
FROM optimization_runs AS run
CROSS JOIN (SELECT gen_random_uuid()::text AS id) AS batch
CROSS JOIN ROWS FROM (json_to_recordset(%(rows)s::json) AS (
    iteration integer, score double precision, params jsonb, program jsonb, "samplesInIteration" bigint,
    "successfulSamples" bigint, "avgScore" double precision, "stdDev" double precision, "iterationStartTime" timestamptz,
    "iterationEndTime" timestamptz, "durationMs" bigint, "tokensUsed" bigint, "costUsd" double precision, metadata jsonb
)) WITH ORDINALITY AS given
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
