DROP FUNCTION optimization_find_named_runs(text, text, integer);
DROP INDEX idx_optimization_runs_run_name;
CREATE INDEX idx_optimization_runs_run_name ON optimization_runs (project_id, run_name);
