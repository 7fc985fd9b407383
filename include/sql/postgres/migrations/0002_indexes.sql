-- The indexes that the lists, the leaderboard and the searches need. Each ends in the id, so that a cursor, which is the
-- last row's sort value and id, finds its place in it.

CREATE INDEX idx_optimization_runs_project_id ON optimization_runs (project_id, created_at DESC, id DESC);
CREATE INDEX idx_optimization_runs_status ON optimization_runs (project_id, status, created_at DESC, id DESC);
CREATE INDEX idx_optimization_runs_optimizer_type
    ON optimization_runs (project_id, optimizer_type, created_at DESC, id DESC);
CREATE INDEX idx_optimization_runs_run_name ON optimization_runs (project_id, run_name);
CREATE INDEX idx_optimization_runs_performance ON optimization_runs (project_id, direction, final_score, id)
    WHERE status = 'completed';

-- The other orders of a list.
CREATE INDEX idx_optimization_runs_final_score ON optimization_runs (project_id, final_score, id);
CREATE INDEX idx_optimization_runs_improvement ON optimization_runs (project_id, improvement, id);
CREATE INDEX idx_optimization_runs_duration_ms ON optimization_runs (project_id, duration_ms, id);

-- These are the unique keys too.
CREATE UNIQUE INDEX idx_optimization_iterations_run_id ON optimization_iterations (run_id, iteration);
CREATE UNIQUE INDEX idx_optimization_samples_run_id ON optimization_samples (run_id, iteration, sample_index);
-- Without it, deleting an iteration would read every sample.
CREATE INDEX idx_optimization_samples_iteration_id ON optimization_samples (iteration_id);

-- Containment only (@>): half the size of the default, and it is what the filters ask.
CREATE INDEX idx_optimization_runs_config_gin ON optimization_runs USING gin (config jsonb_path_ops);
CREATE INDEX idx_optimization_runs_metadata_gin ON optimization_runs USING gin (metadata jsonb_path_ops);
CREATE INDEX idx_optimization_runs_tags_gin ON optimization_runs USING gin (tags);
CREATE INDEX idx_optimization_iterations_params_gin ON optimization_iterations USING gin (params jsonb_path_ops);
