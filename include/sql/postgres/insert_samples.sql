-- Samples added to iterations of a run.
-- Grain: one row a sample whose iteration is there. Parameters: run_id; rows, a JSON array of objects with the columns'
-- names; max_bytes, which the rows fit into that come back (asked: returning).
{% from '_pages.sql' import fitting %}
{% if 'returning' in asked %}
WITH added AS (
{% endif %}
INSERT INTO optimization_samples (
    project_id, run_id, iteration_id, iteration, sample_index, input, predicted_output, expected_output, score, is_correct,
    program_hash, latency_ms, tokens_used, cost_usd, error_message, metadata
)
SELECT
    it.project_id, it.run_id, it.id, it.iteration, given.sample_index, given.input, given.predicted_output,
    given.expected_output, given.score, given.is_correct, given.program_hash, given.latency_ms, given.tokens_used,
    given.cost_usd, given.error_message, given.metadata
FROM json_to_recordset(%(rows)s::json) AS given (
    iteration integer, iteration_id uuid, sample_index integer, input jsonb, predicted_output jsonb, expected_output jsonb,
    score double precision, is_correct boolean, program_hash text, latency_ms double precision, tokens_used bigint,
    cost_usd double precision, error_message text, metadata jsonb
)
JOIN optimization_iterations AS it
    ON it.run_id = %(run_id)s AND it.iteration = given.iteration
    AND it.id = coalesce(given.iteration_id, it.id)
{% if 'returning' in asked %}
RETURNING
    id, run_id, iteration_id, iteration, sample_index, input, predicted_output, expected_output, score, is_correct,
    program_hash, latency_ms, tokens_used, cost_usd, error_message, metadata, created_at, bytes
)
{% call fitting('iteration, sample_index') %}
SELECT * FROM added
{% endcall %}
{% endif %}
