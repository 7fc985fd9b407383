REVOKE ALL ON
    project_config, optimization_runs, optimization_iterations, optimization_samples, optimization_iterations_judged
    FROM optimization_app, optimization_service;
DROP TABLE optimization_idempotency_keys, optimization_api_keys;
DROP POLICY "Callers manage their own projects" ON optimization_samples;
DROP POLICY "Callers manage their own projects" ON optimization_iterations;
DROP POLICY "Callers manage their own projects" ON optimization_runs;
DROP POLICY "Callers see their own projects" ON project_config;
DROP POLICY "Service role has full access" ON optimization_samples;
DROP POLICY "Service role has full access" ON optimization_iterations;
DROP POLICY "Service role has full access" ON optimization_runs;
DROP POLICY "Service role has full access" ON project_config;
ALTER TABLE optimization_samples NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY;
ALTER TABLE optimization_iterations NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY;
ALTER TABLE optimization_runs NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY;
ALTER TABLE project_config NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY;
DROP FUNCTION optimization_current_projects();
REVOKE SELECT ON optimization_schema_version FROM optimization_app, optimization_service;
-- The two roles belong to the whole server and may serve other databases: they stay.
