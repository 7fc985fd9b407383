-- What runs are compared by: their figures and their config, which is NULL where it is too long to be compared.
-- Grain: one row a run, the newest first. Parameters: ids (asked: ids) or those of the conditions; row_limit;
-- max_config_bytes. Template: whole ('ids': any of the caller's projects).
SELECT
    id, project_id, run_name, optimizer_type, status, direction, metric, initial_score, final_score, best_score, improvement,
    improvement_pct, iterations, duration_ms, total_cost_usd, created_at,
    CASE WHEN octet_length(config::text) <= %(max_config_bytes)s THEN config END AS config
FROM optimization_runs
WHERE {% if whole == 'ids' %}id = ANY (%(ids)s){% else %}{% include '_run_conditions.sql' %}{% endif %}

ORDER BY created_at DESC, id DESC
LIMIT %(row_limit)s
