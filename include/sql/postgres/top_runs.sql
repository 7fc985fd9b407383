-- The best completed runs of one direction, best first; read from one end of idx_optimization_runs_performance.
-- Grain: one row a run. Parameters: project_id, row_limit, those of the conditions. Template: way (ASC where low is good).
SELECT {% include '_run_columns.sql' %}
FROM optimization_runs
WHERE status = 'completed'
    AND direction = {{ "'minimize'" if way == 'ASC' else "'maximize'" }}
    AND final_score IS NOT NULL
    AND {% include '_run_conditions.sql' %}
ORDER BY final_score {{ way }}, id {{ way }}
LIMIT %(row_limit)s
