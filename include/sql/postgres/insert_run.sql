-- A new run, as it stands afterwards.
-- Grain: one row; none where its creation_key has made a run already, also where another transaction is just doing that.
-- Parameters: one a column; those that are NULL and have a default take it. An end before the start is of
-- a clock that was set back: it is kept as stated, and this server's clock ends the run.
INSERT INTO optimization_runs (
    project_id, run_name, optimizer_type, status, direction, config, start_time, end_time, initial_score, final_score,
    best_score, iterations, samples_evaluated, successful_samples, failed_samples, total_tokens, total_cost_usd,
    avg_latency_ms, best_program, final_program, evaluation_results, error_message, error_stack, metadata, tags,
    stated_end_time, metric, creation_key, creation_sha256
) VALUES (
    %(project_id)s, %(run_name)s, %(optimizer_type)s, %(status)s, %(direction)s, %(config)s,
    coalesce(%(start_time)s, CASE %(status)s::text WHEN 'running' THEN now() END),
    CASE WHEN %(end_time)s::timestamptz < %(start_time)s THEN greatest(now(), %(start_time)s) ELSE %(end_time)s END,
    %(initial_score)s,
    %(final_score)s, %(best_score)s, coalesce(%(iterations)s, 0), coalesce(%(samples_evaluated)s, 0),
    coalesce(%(successful_samples)s, 0), coalesce(%(failed_samples)s, 0), coalesce(%(total_tokens)s, 0),
    coalesce(%(total_cost_usd)s, 0), %(avg_latency_ms)s, %(best_program)s, %(final_program)s, %(evaluation_results)s,
    %(error_message)s, %(error_stack)s, %(metadata)s, %(tags)s,
    CASE WHEN %(end_time)s::timestamptz < %(start_time)s THEN %(end_time)s END,
    %(metric)s, %(creation_key)s, %(creation_sha256)s
)
ON CONFLICT (project_id, creation_key) WHERE creation_key IS NOT NULL DO NOTHING
RETURNING {% include '_run_columns.sql' %}
