-- A run's iterations by their number, as many as fit into max_bytes.
-- Grain: one row an iteration. Parameters: run_id, row_limit, row_offset, max_bytes; after_iteration (asked: after);
-- iteration (asked: one).
{% from '_pages.sql' import fitting %}
{% call fitting('iteration') %}
SELECT {% include '_iteration_columns.sql' %}
FROM optimization_runs AS run
CROSS JOIN LATERAL (
    SELECT * FROM optimization_iterations AS own
    WHERE own.run_id = run.id
        {% if 'one' in asked %}
        AND own.iteration = %(iteration)s
        {% endif %}
        {% if 'after' in asked %}
        AND own.iteration > %(after_iteration)s
        {% endif %}
    ORDER BY own.iteration
    LIMIT %(row_limit)s OFFSET %(row_offset)s
) AS it
WHERE run.id = %(run_id)s
{% endcall %}
