-- What callers have deleted must not come back.
SET LOCAL ROLE optimization_service;
DELETE FROM optimization_runs AS run USING optimization_deleted_runs AS gone
WHERE gone.project_id = run.project_id AND gone.run_id = run.id;
RESET ROLE;
DROP FUNCTION optimization_remove_deleted(integer);
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['optimization_runs', 'optimization_iterations', 'optimization_samples'] LOOP
        EXECUTE format(
            'ALTER POLICY "Callers manage their own projects" ON %I '
            'USING (project_id = ANY ((SELECT optimization_current_projects())::text[]))',
            name
        );
    END LOOP;
END
$$;
GRANT CREATE ON SCHEMA public TO optimization_service;
DO $$
DECLARE
    figures   text := rtrim(pg_get_viewdef('optimization_run_analytics'::regclass), ';');
    analytics text := pg_get_viewdef('optimization_analytics'::regclass);
BEGIN
    DROP VIEW optimization_analytics;
    DROP MATERIALIZED VIEW optimization_run_analytics;
    EXECUTE 'CREATE MATERIALIZED VIEW optimization_run_analytics AS ' || regexp_replace(figures, 'WHERE .?NOT .*GROUP BY', 'GROUP BY') || ' WITH NO DATA';
    EXECUTE 'CREATE VIEW optimization_analytics WITH (security_barrier = true) AS ' || analytics;
END
$$;
CREATE UNIQUE INDEX idx_optimization_run_analytics ON optimization_run_analytics (project_id, optimizer_type, status);
ALTER MATERIALIZED VIEW optimization_run_analytics OWNER TO optimization_service;
ALTER VIEW optimization_analytics OWNER TO optimization_service;
GRANT SELECT ON optimization_analytics TO optimization_app;
REFRESH MATERIALIZED VIEW optimization_run_analytics; -- as its owner, who sees every project
REVOKE CREATE ON SCHEMA public FROM optimization_service;
DROP TABLE optimization_deleted_runs;
