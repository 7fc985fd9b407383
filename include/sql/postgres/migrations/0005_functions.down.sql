DROP FUNCTION optimization_find_runs(text, jsonb, jsonb, text[], integer);
DROP FUNCTION optimization_forget_idempotency_keys(interval);
DROP FUNCTION optimization_list_projects();
DROP FUNCTION optimization_find_api_key(bytea);
DROP FUNCTION refresh_optimization_analytics();
DROP VIEW optimization_analytics;
DROP MATERIALIZED VIEW optimization_run_analytics;
DROP FUNCTION get_top_runs_by_score(text, integer, text);
DROP FUNCTION get_optimization_run_summary(uuid);
