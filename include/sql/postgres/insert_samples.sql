-- Samples added to iterations of a run.
-- Grain: one row a sample whose iteration is there. Parameters: run_id; rows, a JSON array of objects with the API's
-- names; max_bytes, which the rows fit into that come back (asked: returning).
{% from '_pages.sql' import fitting %}
WITH given AS MATERIALIZED (
    SELECT batch.id AS batch_id, rows.*
    FROM (SELECT gen_random_uuid()::text AS id) AS batch
    CROSS JOIN ROWS FROM (json_to_recordset(%(rows)s::json) AS (
        iteration integer, "iterationId" uuid, "sampleIndex" integer, input jsonb, "predictedOutput" jsonb,
        "expectedOutput" jsonb, score double precision, "isCorrect" boolean, "programHash" text,
        "latencyMs" double precision, "tokensUsed" bigint, "costUsd" double precision, "errorMessage" text, metadata jsonb
    )) WITH ORDINALITY AS rows
),
-- Each iteration is looked up once, not once a sample.
it AS MATERIALIZED (
    SELECT own.project_id, own.run_id, own.id, own.iteration
    FROM optimization_iterations AS own
    WHERE own.run_id = %(run_id)s AND own.iteration = ANY (ARRAY(SELECT DISTINCT iteration FROM given))
)
{% if 'returning' in asked %}
, added AS (
{% endif %}
INSERT INTO optimization_samples (
    id, project_id, run_id, iteration_id, iteration, sample_index, input, predicted_output, expected_output, score,
    is_correct, program_hash, latency_ms, tokens_used, cost_usd, error_message, metadata
)
SELECT
    {% with batch_id = 'given.batch_id' %}{% include '_row_id.sql' %}{% endwith %}, it.project_id, it.run_id, it.id,
    it.iteration, given."sampleIndex", given.input, given."predictedOutput", given."expectedOutput", given.score,
    given."isCorrect", given."programHash", given."latencyMs", given."tokensUsed", given."costUsd", given."errorMessage",
    coalesce(given.metadata, '{}')
FROM given
JOIN it ON it.iteration = given.iteration AND it.id = coalesce(given."iterationId", it.id)
{% if 'returning' in asked %}
RETURNING
    id, run_id, iteration_id, iteration, sample_index, input, predicted_output, expected_output, score, is_correct,
    program_hash, latency_ms, tokens_used, cost_usd, error_message, metadata, created_at, bytes
)
{% call fitting('iteration, sample_index') %}
SELECT * FROM added
{% endcall %}
{% endif %}
