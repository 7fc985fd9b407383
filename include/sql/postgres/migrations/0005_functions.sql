-- The helper functions, the analytics, and the few questions that are asked before anybody's project is known.
--
-- SECURITY DEFINER functions run as optimization_service, which sees every project: each returns only what its
-- arguments or app.projects entitle the caller to.

GRANT CREATE ON SCHEMA public TO optimization_service; -- to own what follows; taken back at the end

CREATE FUNCTION get_optimization_run_summary(run_id uuid) RETURNS TABLE (
    id uuid, project_id text, run_name text, optimizer_type text, status text, direction text, duration_ms bigint,
    initial_score double precision, final_score double precision, best_score double precision,
    improvement double precision, improvement_pct double precision, best_iteration integer, iterations integer,
    samples_evaluated bigint, successful_samples bigint, failed_samples bigint, total_tokens bigint,
    total_cost_usd double precision, avg_latency_ms double precision, samples_stored bigint, created_at timestamptz
)
LANGUAGE sql STABLE AS $$
    SELECT
        run.id, run.project_id, run.run_name, run.optimizer_type, run.status, run.direction, run.duration_ms,
        run.initial_score, run.final_score, run.best_score, run.improvement, run.improvement_pct, run.best_iteration,
        run.iterations, run.samples_evaluated, run.successful_samples, run.failed_samples, run.total_tokens,
        run.total_cost_usd, run.avg_latency_ms,
        (SELECT count(*) FROM optimization_samples AS sample WHERE sample.run_id = run.id),
        run.created_at
    FROM optimization_runs AS run
    WHERE run.id = get_optimization_run_summary.run_id
$$;

CREATE FUNCTION get_top_runs_by_score(project_id text, "limit" integer DEFAULT 10, direction text DEFAULT 'maximize')
RETURNS SETOF optimization_runs
LANGUAGE plpgsql STABLE AS $$
BEGIN
    -- Two statements, so that each reads its end of idx_optimization_runs_performance and nothing else.
    IF get_top_runs_by_score.direction = 'minimize' THEN
        RETURN QUERY
            SELECT * FROM optimization_runs AS run
            WHERE run.project_id = get_top_runs_by_score.project_id AND run.status = 'completed'
                AND run.direction = 'minimize' AND run.final_score IS NOT NULL
            ORDER BY run.final_score, run.id LIMIT "limit";
    ELSE
        RETURN QUERY
            SELECT * FROM optimization_runs AS run
            WHERE run.project_id = get_top_runs_by_score.project_id AND run.status = 'completed'
                AND run.direction = 'maximize' AND run.final_score IS NOT NULL
            ORDER BY run.final_score DESC, run.id DESC LIMIT "limit";
    END IF;
END
$$;

CREATE MATERIALIZED VIEW optimization_run_analytics AS
SELECT
    project_id,
    optimizer_type,
    status,
    count(*)                                       AS total_runs,
    count(*) FILTER (WHERE status = 'completed')   AS completed_runs,
    count(*) FILTER (WHERE status = 'failed')      AS failed_runs,
    avg(final_score)                               AS avg_final_score,
    max(final_score::double precision)             AS max_final_score,
    min(final_score::double precision)             AS min_final_score,
    avg(improvement)                               AS avg_improvement,
    avg(duration_ms)::double precision             AS avg_duration_ms,
    coalesce(sum(samples_evaluated), 0)            AS total_samples_evaluated,
    coalesce(sum(total_tokens), 0)                 AS total_tokens_used,
    coalesce(sum(total_cost_usd), 0)               AS total_cost_usd,
    min(created_at)                                AS first_run_at,
    max(created_at)                                AS last_run_at,
    now()                                          AS refreshed_at
FROM optimization_runs
GROUP BY project_id, optimizer_type, status
WITH NO DATA;
CREATE UNIQUE INDEX idx_optimization_run_analytics ON optimization_run_analytics (project_id, optimizer_type, status);
ALTER MATERIALIZED VIEW optimization_run_analytics OWNER TO optimization_service;
REFRESH MATERIALIZED VIEW optimization_run_analytics; -- as its new owner, who sees every project

-- A materialized view knows no row-level security: callers read it through this one.
CREATE VIEW optimization_analytics WITH (security_barrier = true) AS
SELECT * FROM optimization_run_analytics
WHERE project_id = ANY ((SELECT optimization_current_projects())::text[]);
ALTER VIEW optimization_analytics OWNER TO optimization_service;
GRANT SELECT ON optimization_analytics TO optimization_app;

CREATE FUNCTION refresh_optimization_analytics() RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    -- Two at a time would only wait for each other.
    IF NOT pg_try_advisory_xact_lock(hashtext('optimization_run_analytics')) THEN
        RETURN false;
    END IF;
    REFRESH MATERIALIZED VIEW CONCURRENTLY optimization_run_analytics;
    RETURN true;
END
$$;
ALTER FUNCTION refresh_optimization_analytics() OWNER TO optimization_service;

CREATE FUNCTION optimization_find_api_key(key_sha256 bytea)
RETURNS TABLE (id uuid, project_id text, scopes text[], rate_limit_per_s integer)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    RETURN QUERY
        SELECT found.id, found.project_id, found.scopes, found.rate_limit_per_s
        FROM optimization_api_keys AS found
        WHERE found.sha256 = key_sha256 AND found.revoked_at IS NULL
            AND (found.expires_at IS NULL OR found.expires_at > now());
    IF FOUND THEN
        -- To the minute: a write with each request would cost more than the request.
        UPDATE optimization_api_keys AS used SET last_used_at = now()
        WHERE used.sha256 = key_sha256 AND coalesce(used.last_used_at, '-infinity') < now() - interval '1 minute';
    END IF;
END
$$;
ALTER FUNCTION optimization_find_api_key(bytea) OWNER TO optimization_service;

CREATE FUNCTION optimization_list_projects() RETURNS SETOF text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT id FROM project_config ORDER BY id
$$;
ALTER FUNCTION optimization_list_projects() OWNER TO optimization_service;

CREATE FUNCTION optimization_forget_idempotency_keys(older_than interval) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    WITH forgotten AS (
        DELETE FROM optimization_idempotency_keys WHERE created_at < now() - older_than RETURNING 1
    )
    SELECT count(*) FROM forgotten
$$;
ALTER FUNCTION optimization_forget_idempotency_keys(interval) OWNER TO optimization_service;

-- A search inside JSON or tags cannot use its GIN index under row-level security, for the comparison might leak; here it
-- can. Returns the matching ids of the caller's projects, at most `cap`; the caller's own statement reads their rows.
CREATE FUNCTION optimization_find_runs(of_project text, config jsonb, metadata jsonb, tags text[], cap integer)
RETURNS SETOF uuid
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF NOT coalesce(of_project = ANY (optimization_current_projects()), false) THEN
        RETURN;
    END IF;
    -- Put together from what is asked, so that each question gets its own plan.
    RETURN QUERY EXECUTE
        'SELECT run.id FROM optimization_runs AS run WHERE run.project_id = $1'
        || CASE WHEN config IS NULL THEN '' ELSE ' AND run.config @> $2' END
        || CASE WHEN metadata IS NULL THEN '' ELSE ' AND run.metadata @> $3' END
        || CASE WHEN tags IS NULL THEN '' ELSE ' AND run.tags @> $4' END
        || ' LIMIT $5'
        USING of_project, config, metadata, tags, cap;
END
$$;
ALTER FUNCTION optimization_find_runs(text, jsonb, jsonb, text[], integer) OWNER TO optimization_service;

REVOKE CREATE ON SCHEMA public FROM optimization_service;
REVOKE EXECUTE ON FUNCTION
    refresh_optimization_analytics(), optimization_find_api_key(bytea), optimization_list_projects(),
    optimization_forget_idempotency_keys(interval),
    optimization_find_runs(text, jsonb, jsonb, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    refresh_optimization_analytics(), optimization_find_api_key(bytea), optimization_list_projects(),
    optimization_forget_idempotency_keys(interval),
    optimization_find_runs(text, jsonb, jsonb, text[], integer) TO optimization_app, optimization_service;
