-- A run is deleted by a mark: no caller sees it or its rows from then on. The service removes them in portions.
--
-- The mark has no foreign key to its run: it stays until the run's last row is gone.

CREATE TABLE optimization_deleted_runs (
    project_id text        NOT NULL REFERENCES project_config (id) ON DELETE CASCADE,
    run_id     uuid        NOT NULL,
    deleted_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (project_id, run_id)
);
CREATE INDEX idx_optimization_deleted_runs_deleted_at ON optimization_deleted_runs (deleted_at);
ALTER TABLE optimization_deleted_runs ENABLE ROW LEVEL SECURITY;
ALTER TABLE optimization_deleted_runs FORCE ROW LEVEL SECURITY;
CREATE POLICY "Service role has full access" ON optimization_deleted_runs TO optimization_service
    USING (current_user = 'optimization_service') WITH CHECK (current_user = 'optimization_service');
CREATE POLICY "Callers manage their own projects" ON optimization_deleted_runs TO optimization_app
    USING (project_id = ANY ((SELECT optimization_current_projects())::text[]))
    WITH CHECK (project_id = ANY ((SELECT optimization_current_projects())::text[]));
GRANT SELECT, INSERT ON optimization_deleted_runs TO optimization_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON optimization_deleted_runs TO optimization_service;

-- Read once a statement, as a hash table.
ALTER POLICY "Callers manage their own projects" ON optimization_runs USING (
    project_id = ANY ((SELECT optimization_current_projects())::text[])
    AND id NOT IN (SELECT gone.run_id FROM optimization_deleted_runs AS gone)
);
ALTER POLICY "Callers manage their own projects" ON optimization_iterations USING (
    project_id = ANY ((SELECT optimization_current_projects())::text[])
    AND run_id NOT IN (SELECT gone.run_id FROM optimization_deleted_runs AS gone)
);
ALTER POLICY "Callers manage their own projects" ON optimization_samples USING (
    project_id = ANY ((SELECT optimization_current_projects())::text[])
    AND run_id NOT IN (SELECT gone.run_id FROM optimization_deleted_runs AS gone)
);

-- The analytics leave deleted runs out.
GRANT CREATE ON SCHEMA public TO optimization_service; -- to own what follows; taken back at the end
DO $$
DECLARE
    figures   text := rtrim(pg_get_viewdef('optimization_run_analytics'::regclass), ';');
    analytics text := pg_get_viewdef('optimization_analytics'::regclass);
BEGIN
    DROP VIEW optimization_analytics;
    DROP MATERIALIZED VIEW optimization_run_analytics;
    EXECUTE 'CREATE MATERIALIZED VIEW optimization_run_analytics AS ' || replace(
        figures, 'GROUP BY', 'WHERE id NOT IN (SELECT gone.run_id FROM optimization_deleted_runs AS gone) GROUP BY'
    ) || ' WITH NO DATA';
    EXECUTE 'CREATE VIEW optimization_analytics WITH (security_barrier = true) AS ' || analytics;
END
$$;
CREATE UNIQUE INDEX idx_optimization_run_analytics ON optimization_run_analytics (project_id, optimizer_type, status);
ALTER MATERIALIZED VIEW optimization_run_analytics OWNER TO optimization_service;
ALTER VIEW optimization_analytics OWNER TO optimization_service;
GRANT SELECT ON optimization_analytics TO optimization_app;
REFRESH MATERIALIZED VIEW optimization_run_analytics; -- as its owner, who sees every project

-- Removes up to `portion` rows of a deleted run, the run itself at the end, and returns how many rows that were; 0 where
-- nothing is left, or where other processes are at work on all of it.
CREATE FUNCTION optimization_remove_deleted(portion integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    gone    optimization_deleted_runs;
    removed bigint;
BEGIN
    SELECT * INTO gone FROM optimization_deleted_runs ORDER BY deleted_at LIMIT 1 FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN 0;
    END IF;
    DELETE FROM optimization_samples WHERE id IN (
        SELECT id FROM optimization_samples WHERE project_id = gone.project_id AND run_id = gone.run_id LIMIT portion
    );
    GET DIAGNOSTICS removed = ROW_COUNT;
    IF removed = 0 THEN
        DELETE FROM optimization_iterations WHERE id IN (
            SELECT id FROM optimization_iterations
            WHERE project_id = gone.project_id AND run_id = gone.run_id LIMIT portion
        );
        GET DIAGNOSTICS removed = ROW_COUNT;
    END IF;
    IF removed = 0 THEN
        DELETE FROM optimization_runs WHERE project_id = gone.project_id AND id = gone.run_id;
        DELETE FROM optimization_deleted_runs WHERE project_id = gone.project_id AND run_id = gone.run_id;
        removed := 1;
    END IF;
    RETURN removed;
END
$$;
ALTER FUNCTION optimization_remove_deleted(integer) OWNER TO optimization_service;
REVOKE CREATE ON SCHEMA public FROM optimization_service;
REVOKE EXECUTE ON FUNCTION optimization_remove_deleted(integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION optimization_remove_deleted(integer) TO optimization_gate;
