-- Splits optimization_runs by project, for a million runs and more. Not part of the migrations: apply it in a maintenance
-- window on an empty schema, or copy the rows of the old table in before it is dropped.
--
-- Every table and every key already names the project, so callers, policies and triggers stay as they are. What changes:
-- the id alone is no longer a unique key, (project_id, id) is. Add a partition for each large project; the rest share
-- the default one. A project is archived by DETACH PARTITION.
ALTER TABLE optimization_iterations DROP CONSTRAINT optimization_iterations_project_id_run_id_fkey;
ALTER TABLE optimization_samples DROP CONSTRAINT optimization_samples_project_id_run_id_fkey;
ALTER TABLE optimization_runs RENAME TO optimization_runs_old;

CREATE TABLE optimization_runs (
    LIKE optimization_runs_old INCLUDING DEFAULTS INCLUDING GENERATED INCLUDING CONSTRAINTS,
    PRIMARY KEY (project_id, id),
    FOREIGN KEY (project_id) REFERENCES project_config (id) ON DELETE CASCADE
) PARTITION BY LIST (project_id);
CREATE TABLE optimization_runs_proj_001 PARTITION OF optimization_runs FOR VALUES IN ('proj_001') WITH (fillfactor = 80);
CREATE TABLE optimization_runs_proj_002 PARTITION OF optimization_runs FOR VALUES IN ('proj_002') WITH (fillfactor = 80);
CREATE TABLE optimization_runs_default PARTITION OF optimization_runs DEFAULT WITH (fillfactor = 80);

CREATE INDEX ON optimization_runs (project_id, created_at DESC, id DESC);
CREATE INDEX ON optimization_runs (project_id, status, created_at DESC, id DESC);
CREATE INDEX ON optimization_runs (project_id, optimizer_type, created_at DESC, id DESC);
CREATE INDEX ON optimization_runs (project_id, direction, final_score, id) WHERE status = 'completed';
CREATE INDEX ON optimization_runs USING gin (config jsonb_path_ops);
CREATE INDEX ON optimization_runs USING gin (metadata jsonb_path_ops);
CREATE INDEX ON optimization_runs USING gin (tags);

ALTER TABLE optimization_iterations ADD FOREIGN KEY (project_id, run_id)
    REFERENCES optimization_runs (project_id, id) ON DELETE CASCADE;
ALTER TABLE optimization_samples ADD FOREIGN KEY (project_id, run_id)
    REFERENCES optimization_runs (project_id, id) ON DELETE CASCADE;

CREATE TRIGGER update_optimization_runs_updated_at
    BEFORE UPDATE ON optimization_runs
    FOR EACH ROW EXECUTE FUNCTION update_optimization_runs_updated_at();

ALTER TABLE optimization_runs ENABLE ROW LEVEL SECURITY;
ALTER TABLE optimization_runs FORCE ROW LEVEL SECURITY;
CREATE POLICY "Service role has full access" ON optimization_runs TO optimization_service USING (true) WITH CHECK (true);
CREATE POLICY "Callers manage their own projects" ON optimization_runs TO optimization_app
    USING (project_id = ANY ((SELECT optimization_current_projects())::text[]))
    WITH CHECK (project_id = ANY ((SELECT optimization_current_projects())::text[]));
GRANT SELECT, INSERT, UPDATE, DELETE ON optimization_runs TO optimization_app, optimization_service;
