-- Samples added to iterations of a run, by a statement that is a transaction of its own where none was begun.
-- Grain: one row a sample, as many as fit into max_bytes (asked: cut); or none that has a column. Parameters: as
-- insert_iterations.sql.
{% from '_pages.sql' import fitting %}
{% macro add(with_rows) %}
optimization_add_samples(
    %(projects)s, %(actor)s, %(run_id)s, {{ with_rows }}, %(iteration)s, %(iterationId)s, %(sampleIndex)s, %(input)s,
    %(predictedOutput)s, %(expectedOutput)s, %(score)s, %(isCorrect)s, %(programHash)s, %(latencyMs)s, %(tokensUsed)s,
    %(costUsd)s, %(errorMessage)s, %(metadata)s
)
{%- endmacro %}
{% if 'cut' in asked %}
{% call fitting('iteration, sample_index') %}
SELECT
    id, run_id, iteration_id, iteration, sample_index, input, predicted_output, expected_output, score, is_correct,
    program_hash, latency_ms, tokens_used, cost_usd, error_message, metadata, created_at, bytes
FROM {{ add('true') }}
{% endcall %}
{% else %}
SELECT FROM {{ add('false') }}
{% endif %}
