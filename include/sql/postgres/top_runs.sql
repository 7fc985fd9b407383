-- The best completed runs of one direction, best first, as many as fit into max_bytes; read from one end of
-- idx_optimization_runs_performance.
-- Grain: one row a run. Parameters: project_id, row_limit, max_bytes, those of the conditions; after_score and after_id
-- (asked: after). Template: way (ASC where low is good).
{% from '_pages.sql' import fitting %}
{% call fitting('final_score ' ~ way ~ ', id ' ~ way) %}
SELECT {% include '_run_columns.sql' %}
FROM optimization_runs
WHERE status = 'completed'
    AND direction = {{ "'minimize'" if way == 'ASC' else "'maximize'" }}
    AND final_score IS NOT NULL
    AND {% include '_run_conditions.sql' %}
    {% if 'after' in asked %}
    AND (final_score, id) {{ '>' if way == 'ASC' else '<' }} (%(after_score)s, %(after_id)s)
    {% endif %}
ORDER BY final_score {{ way }}, id {{ way }}
LIMIT %(row_limit)s
{% endcall %}
