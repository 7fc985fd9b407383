-- A run's samples by iteration and sample_index, as many as fit into max_bytes.
-- Grain: one row a sample. Parameters: run_id, row_limit, row_offset, max_bytes; iteration (asked: iteration), is_correct
-- (asked: is_correct), after_iteration and after_index (asked: after).
{% from '_pages.sql' import fitting %}
{% call fitting('iteration, sample_index') %}
SELECT
    id, run_id, iteration_id, iteration, sample_index, input, predicted_output, expected_output, score, is_correct,
    program_hash, latency_ms, tokens_used, cost_usd, error_message, metadata, created_at, bytes
FROM optimization_samples
WHERE {% include '_sample_conditions.sql' %}
    {% if 'after' in asked %}
    AND (iteration, sample_index) > (%(after_iteration)s, %(after_index)s)
    {% endif %}
ORDER BY iteration, sample_index
LIMIT %(row_limit)s OFFSET %(row_offset)s
{% endcall %}
