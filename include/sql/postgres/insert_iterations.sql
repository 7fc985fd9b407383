-- Iterations added to a run.
-- Grain: one row an iteration, none where the caller may not see the run. Parameters: run_id; for each name of the API a
-- column, as _given_rows.sql has it; max_bytes, which the rows fit into that come back (asked: returning).
{% from '_pages.sql' import fitting %}
{% from '_given_rows.sql' import array, json %}
{% if 'returning' in asked %}
WITH added AS (
{% endif %}
INSERT INTO optimization_iterations (
    id, project_id, run_id, iteration, score, params, program, samples_in_iteration, successful_samples, avg_score,
    std_dev, iteration_start_time, iteration_end_time, duration_ms, tokens_used, cost_usd, metadata
)
SELECT
    {% include '_row_id.sql' %}, run.project_id, run.id, given.iteration,
    given.score, coalesce(NULLIF(given.params, 'null'), '{}'), NULLIF(given.program, 'null'), given.samples,
    given.successes, given.avg_score, given.std_dev, given.start_time, given.end_time,
    coalesce(
        given.duration_ms,
        CASE WHEN given.end_time >= given.start_time -- else its clock was set back
            THEN round(extract(epoch FROM given.end_time - given.start_time) * 1000)::bigint END
    ),
    given.tokens, given.cost_usd, coalesce(NULLIF(given.metadata, 'null'), '{}')
FROM optimization_runs AS run
CROSS JOIN ROWS FROM (
    {{ array('iteration', 'integer') }}, {{ array('score', 'double precision') }}, {{ json('params') }},
    {{ json('program') }}, {{ array('samplesInIteration', 'bigint') }}, {{ array('successfulSamples', 'bigint') }},
    {{ array('avgScore', 'double precision') }}, {{ array('stdDev', 'double precision') }},
    {{ array('iterationStartTime', 'timestamptz') }}, {{ array('iterationEndTime', 'timestamptz') }},
    {{ array('durationMs', 'bigint') }}, {{ array('tokensUsed', 'bigint') }}, {{ array('costUsd', 'double precision') }},
    {{ json('metadata') }}
) WITH ORDINALITY AS given (
    iteration, score, params, program, samples, successes, avg_score, std_dev, start_time, end_time, duration_ms, tokens,
    cost_usd, metadata, ordinality
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
