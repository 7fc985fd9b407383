-- The first iterations of each of several runs, as many as fit into max_bytes together.
-- Grain: one row an iteration. Parameters: run_ids, row_limit (of each run), max_bytes.
{% from '_pages.sql' import fitting %}
{% call fitting('place, iteration', keep_first=false) %}
SELECT {% include '_iteration_columns.sql' %}, array_position(%(run_ids)s::uuid[], run.id) AS place
FROM optimization_runs AS run
CROSS JOIN LATERAL (
    SELECT * FROM optimization_iterations AS own
    WHERE own.run_id = run.id
    ORDER BY own.iteration
    LIMIT %(row_limit)s
) AS it
WHERE run.id = ANY (%(run_ids)s)
{% endcall %}
