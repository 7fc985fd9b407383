-- Samples added to iterations of a run.
-- Grain: one row a sample whose iteration is there. Parameters: run_id; for each name of the API a column, as
-- _given_rows.sql has it; max_bytes, which the rows fit into that come back (asked: returning).
{% from '_pages.sql' import fitting %}
{% from '_given_rows.sql' import array, json, texts %}
-- Each iteration is looked up once, not once a sample.
WITH it AS MATERIALIZED (
    SELECT own.project_id, own.run_id, own.id, own.iteration
    FROM optimization_iterations AS own
    WHERE own.run_id = %(run_id)s
        AND own.iteration = ANY (ARRAY(SELECT DISTINCT number FROM {{ array('iteration', 'integer') }} AS number))
)
{% if 'returning' in asked %}
, added AS (
{% endif %}
INSERT INTO optimization_samples (
    id, project_id, run_id, iteration_id, iteration, sample_index, input, predicted_output, expected_output, score,
    is_correct, program_hash, latency_ms, tokens_used, cost_usd, error_message, metadata
)
SELECT
    {% include '_row_id.sql' %}, it.project_id, it.run_id, it.id,
    it.iteration, given.sample_index, NULLIF(given.input, 'null'), NULLIF(given.predicted_output, 'null'),
    NULLIF(given.expected_output, 'null'), given.score, given.is_correct, given.program_hash, given.latency_ms, given.tokens,
    given.cost_usd, given.error_message, coalesce(NULLIF(given.metadata, 'null'), '{}')
FROM ROWS FROM (
    {{ array('iteration', 'integer') }}, {{ array('iterationId', 'uuid') }}, {{ array('sampleIndex', 'integer') }},
    {{ json('input') }}, {{ json('predictedOutput') }}, {{ json('expectedOutput') }},
    {{ array('score', 'double precision') }}, {{ array('isCorrect', 'boolean') }}, {{ texts('programHash') }},
    {{ array('latencyMs', 'double precision') }}, {{ array('tokensUsed', 'bigint') }},
    {{ array('costUsd', 'double precision') }}, {{ texts('errorMessage') }}, {{ json('metadata') }}
) WITH ORDINALITY AS given (
    iteration, iteration_id, sample_index, input, predicted_output, expected_output, score, is_correct, program_hash,
    latency_ms, tokens, cost_usd, error_message, metadata, ordinality
)
JOIN it ON it.iteration = given.iteration AND it.id = coalesce(given.iteration_id, it.id)
{% if 'returning' in asked %}
RETURNING
    id, run_id, iteration_id, iteration, sample_index, input, predicted_output, expected_output, score, is_correct,
    program_hash, latency_ms, tokens_used, cost_usd, error_message, metadata, created_at, bytes
)
{% call fitting('iteration, sample_index') %}
SELECT * FROM added
{% endcall %}
{% endif %}
