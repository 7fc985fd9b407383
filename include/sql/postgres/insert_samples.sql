-- Samples added to iterations of a run.
-- Grain: one row a sample whose iteration is there. Parameters: run_id; rows, a JSON array of objects with the API's
-- names; max_bytes, which the rows fit into that come back (asked: returning).
{% from '_pages.sql' import fitting %}
{% if 'returning' in asked %}
WITH added AS (
{% endif %}
INSERT INTO optimization_samples (
    id, project_id, run_id, iteration_id, iteration, sample_index, input, predicted_output, expected_output, score,
    is_correct, program_hash, latency_ms, tokens_used, cost_usd, error_message, metadata
)
SELECT
    {% include '_row_id.sql' %}, it.project_id, it.run_id, it.id, it.iteration, given."sampleIndex", given.input, given."predictedOutput",
    given."expectedOutput", given.score, given."isCorrect", given."programHash", given."latencyMs", given."tokensUsed",
    given."costUsd", given."errorMessage", coalesce(given.metadata, '{}')
FROM (SELECT gen_random_uuid()::text AS id) AS batch
CROSS JOIN ROWS FROM (json_to_recordset(%(rows)s::json) AS (
    iteration integer, "iterationId" uuid, "sampleIndex" integer, input jsonb, "predictedOutput" jsonb, "expectedOutput" jsonb,
    score double precision, "isCorrect" boolean, "programHash" text, "latencyMs" double precision, "tokensUsed" bigint,
    "costUsd" double precision, "errorMessage" text, metadata jsonb
)) WITH ORDINALITY AS given
JOIN optimization_iterations AS it
    ON it.run_id = %(run_id)s AND it.iteration = given.iteration
    AND it.id = coalesce(given."iterationId", it.id)
{% if 'returning' in asked %}
RETURNING
    id, run_id, iteration_id, iteration, sample_index, input, predicted_output, expected_output, score, is_correct,
    program_hash, latency_ms, tokens_used, cost_usd, error_message, metadata, created_at, bytes
)
{% call fitting('iteration, sample_index') %}
SELECT * FROM added
{% endcall %}
{% endif %}
