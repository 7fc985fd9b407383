-- A run's samples by iteration and sample_index.
-- Grain: one row a sample. Parameters: run_id, row_limit, row_offset; iteration (asked: iteration), is_correct (asked:
-- is_correct), after_iteration and after_index (asked: after).
SELECT
    id, run_id, iteration_id, iteration, sample_index, input, predicted_output, expected_output, score, is_correct,
    program_hash, latency_ms, tokens_used, cost_usd, error_message, metadata, created_at
FROM optimization_samples
WHERE {% include '_sample_conditions.sql' %}
    {% if 'after' in asked %}
    AND (iteration, sample_index) > (%(after_iteration)s, %(after_index)s)
    {% endif %}
ORDER BY iteration, sample_index
LIMIT %(row_limit)s OFFSET %(row_offset)s
