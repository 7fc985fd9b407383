-- Splits optimization_runs by project, for a million runs and more. Not part of the migrations: apply it in one
-- transaction, as the tables' owner, while the service is down. The runs are copied, all else stays where it is.
--
-- Every table and every key already names the project, so callers, policies and triggers stay as they are. What changes:
-- the id alone is no longer a unique key, (project_id, id) is. Add a partition for each large project; the rest share
-- the default one. A project is archived by DETACH PARTITION.
ALTER TABLE optimization_score_ranges DROP CONSTRAINT optimization_score_ranges_project_id_run_id_fkey;
ALTER TABLE optimization_run_leases DROP CONSTRAINT optimization_run_leases_project_id_run_id_fkey;
ALTER TABLE optimization_runs RENAME TO optimization_runs_old;
ALTER TABLE optimization_runs_old NO FORCE ROW LEVEL SECURITY; -- the copy below sees every project

CREATE TABLE optimization_runs (
    LIKE optimization_runs_old INCLUDING DEFAULTS INCLUDING GENERATED INCLUDING CONSTRAINTS,
    PRIMARY KEY (project_id, id),
    FOREIGN KEY (project_id) REFERENCES project_config (id) ON DELETE CASCADE
) PARTITION BY LIST (project_id);
CREATE TABLE optimization_runs_proj_001 PARTITION OF optimization_runs FOR VALUES IN ('proj_001') WITH (fillfactor = 80);
CREATE TABLE optimization_runs_proj_002 PARTITION OF optimization_runs FOR VALUES IN ('proj_002') WITH (fillfactor = 80);
CREATE TABLE optimization_runs_default PARTITION OF optimization_runs DEFAULT WITH (fillfactor = 80);

DO $$
DECLARE
    columns text;
BEGIN
    SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) INTO columns
    FROM pg_attribute
    WHERE attrelid = 'optimization_runs_old'::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = '';
    EXECUTE format('INSERT INTO optimization_runs (%1$s) SELECT %1$s FROM optimization_runs_old', columns);
END
$$;

-- Views and the row types of functions stay bound to the table that they were made on: make them anew, as they were.
GRANT CREATE ON SCHEMA public TO optimization_service;
DO $$
DECLARE
    judged     text := pg_get_viewdef('optimization_iterations_judged'::regclass);
    figures    text := pg_get_viewdef('optimization_run_analytics'::regclass);
    analytics  text := pg_get_viewdef('optimization_analytics'::regclass);
    top_runs   text := pg_get_functiondef('get_top_runs_by_score(text, integer, text)'::regprocedure);
    create_run text := pg_get_functiondef('optimization_create_run(text, jsonb, bigint)'::regprocedure);
BEGIN
    DROP VIEW optimization_iterations_judged, optimization_analytics;
    DROP MATERIALIZED VIEW optimization_run_analytics;
    DROP FUNCTION get_top_runs_by_score(text, integer, text), optimization_create_run(text, jsonb, bigint);
    DROP TABLE optimization_runs_old;
    EXECUTE replace(top_runs, 'optimization_runs_old', 'optimization_runs');
    EXECUTE replace(create_run, 'optimization_runs_old', 'optimization_runs');
    EXECUTE 'CREATE VIEW optimization_iterations_judged WITH (security_invoker = true) AS '
        || replace(judged, 'optimization_runs_old', 'optimization_runs');
    EXECUTE 'CREATE MATERIALIZED VIEW optimization_run_analytics AS '
        || rtrim(replace(figures, 'optimization_runs_old', 'optimization_runs'), ';') || ' WITH NO DATA';
    EXECUTE 'CREATE VIEW optimization_analytics WITH (security_barrier = true) AS ' || analytics;
END
$$;
CREATE UNIQUE INDEX idx_optimization_run_analytics ON optimization_run_analytics (project_id, optimizer_type, status);
ALTER MATERIALIZED VIEW optimization_run_analytics OWNER TO optimization_service;
ALTER VIEW optimization_analytics OWNER TO optimization_service;
REVOKE CREATE ON SCHEMA public FROM optimization_service;
GRANT SELECT ON optimization_iterations_judged TO optimization_app, optimization_service;
GRANT SELECT ON optimization_analytics TO optimization_app;

CREATE INDEX idx_optimization_runs_project_id ON optimization_runs (project_id, created_at DESC, id DESC);
CREATE INDEX idx_optimization_runs_status ON optimization_runs (project_id, status, created_at DESC, id DESC);
CREATE INDEX idx_optimization_runs_optimizer_type
    ON optimization_runs (project_id, optimizer_type, created_at DESC, id DESC);
CREATE INDEX idx_optimization_runs_run_name ON optimization_runs (project_id, run_name);
CREATE INDEX idx_optimization_runs_search_name ON optimization_runs (project_id, search_name) INCLUDE (id);
CREATE INDEX idx_optimization_runs_performance ON optimization_runs (project_id, direction, final_score, id)
    WHERE status = 'completed';
CREATE INDEX idx_optimization_runs_final_score ON optimization_runs (project_id, final_score, id);
CREATE INDEX idx_optimization_runs_improvement ON optimization_runs (project_id, improvement, id);
CREATE INDEX idx_optimization_runs_duration_ms ON optimization_runs (project_id, duration_ms, id);
CREATE INDEX idx_optimization_runs_id ON optimization_runs (id); -- a run is asked for by its id
CREATE UNIQUE INDEX idx_optimization_runs_creation_key ON optimization_runs (project_id, creation_key)
    WHERE creation_key IS NOT NULL;
CREATE INDEX idx_optimization_runs_config_gin ON optimization_runs USING gin (config jsonb_path_ops);
CREATE INDEX idx_optimization_runs_metadata_gin ON optimization_runs USING gin (metadata jsonb_path_ops);
CREATE INDEX idx_optimization_runs_tags_gin ON optimization_runs USING gin (tags);

ALTER TABLE optimization_score_ranges ADD FOREIGN KEY (project_id, run_id)
    REFERENCES optimization_runs (project_id, id) ON DELETE CASCADE;
ALTER TABLE optimization_run_leases ADD FOREIGN KEY (project_id, run_id)
    REFERENCES optimization_runs (project_id, id) ON DELETE CASCADE;

CREATE TRIGGER measure_optimization_run
    BEFORE INSERT OR UPDATE OF
        config, metadata, best_program, final_program, evaluation_results, error_message, error_stack, tags
    ON optimization_runs
    FOR EACH ROW EXECUTE FUNCTION measure_optimization_run();
CREATE TRIGGER update_optimization_runs_updated_at
    BEFORE UPDATE ON optimization_runs
    FOR EACH ROW EXECUTE FUNCTION update_optimization_runs_updated_at();
CREATE TRIGGER keep_run_keys AFTER UPDATE OF id, project_id ON optimization_runs
    FOR EACH ROW WHEN ((OLD.id, OLD.project_id) IS DISTINCT FROM (NEW.id, NEW.project_id))
    EXECUTE FUNCTION optimization_keep_keys();
CREATE TRIGGER remove_rows_of_runs AFTER DELETE ON optimization_runs
    REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION optimization_remove_rows_of_runs();
CREATE TRIGGER note_created_run AFTER INSERT ON optimization_runs
    REFERENCING NEW TABLE AS written
    FOR EACH STATEMENT EXECUTE FUNCTION optimization_note_write('create run');
CREATE TRIGGER note_updated_run AFTER UPDATE ON optimization_runs
    REFERENCING NEW TABLE AS written
    FOR EACH STATEMENT WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION optimization_note_write('update run');
CREATE TRIGGER note_removed_run AFTER DELETE ON optimization_runs
    REFERENCING OLD TABLE AS written
    FOR EACH STATEMENT EXECUTE FUNCTION optimization_note_write('delete run');

ALTER TABLE optimization_runs ENABLE ROW LEVEL SECURITY;
ALTER TABLE optimization_runs FORCE ROW LEVEL SECURITY;
CREATE POLICY "Service role has full access" ON optimization_runs TO optimization_service
    USING (optimization_is_service()) WITH CHECK (current_user = 'optimization_service');
CREATE POLICY "Callers manage their own projects" ON optimization_runs TO optimization_app
    USING (
        project_id = ANY ((SELECT optimization_current_projects())::text[])
        AND id NOT IN (SELECT gone.run_id FROM optimization_deleted_runs AS gone)
    )
    WITH CHECK (project_id = ANY ((SELECT optimization_current_projects())::text[]));
GRANT SELECT, INSERT, UPDATE, DELETE ON optimization_runs TO optimization_app, optimization_service;
REFRESH MATERIALIZED VIEW optimization_run_analytics; -- as its owner, who sees every project
