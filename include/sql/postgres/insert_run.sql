-- A new run, as it stands afterwards.
-- Grain: one row. Parameters: one a column; those that are NULL and have a default take it.
INSERT INTO optimization_runs (
    project_id, run_name, optimizer_type, status, direction, config, start_time, end_time, initial_score, final_score,
    best_score, iterations, samples_evaluated, successful_samples, failed_samples, total_tokens, total_cost_usd,
    avg_latency_ms, best_program, final_program, evaluation_results, error_message, error_stack, metadata, tags
) VALUES (
    %(project_id)s, %(run_name)s, %(optimizer_type)s, %(status)s, %(direction)s, %(config)s,
    coalesce(%(start_time)s, CASE %(status)s::text WHEN 'running' THEN now() END), %(end_time)s, %(initial_score)s,
    %(final_score)s, %(best_score)s, coalesce(%(iterations)s, 0), coalesce(%(samples_evaluated)s, 0),
    coalesce(%(successful_samples)s, 0), coalesce(%(failed_samples)s, 0), coalesce(%(total_tokens)s, 0),
    coalesce(%(total_cost_usd)s, 0), %(avg_latency_ms)s, %(best_program)s, %(final_program)s, %(evaluation_results)s,
    %(error_message)s, %(error_stack)s, %(metadata)s, %(tags)s
)
RETURNING {% include '_run_columns.sql' %}
