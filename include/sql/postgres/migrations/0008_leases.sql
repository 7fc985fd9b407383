-- Who works on a run: each process holds a lease, which it renews. A run whose process died is ended by another one only
-- where no lease of a third is left.

CREATE TABLE optimization_run_leases (
    project_id text        NOT NULL,
    run_id     uuid        NOT NULL,
    owner      text        NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (run_id, owner),
    FOREIGN KEY (project_id, run_id) REFERENCES optimization_runs (project_id, id) ON DELETE CASCADE,
    CONSTRAINT optimization_run_leases_owner CHECK (length(owner) BETWEEN 1 AND 100)
);
CREATE INDEX idx_optimization_run_leases_project_id ON optimization_run_leases (project_id, expires_at);
ALTER TABLE optimization_run_leases ENABLE ROW LEVEL SECURITY;
ALTER TABLE optimization_run_leases FORCE ROW LEVEL SECURITY;
CREATE POLICY "Service role has full access" ON optimization_run_leases TO optimization_service
    USING (current_user = 'optimization_service') WITH CHECK (current_user = 'optimization_service');
CREATE POLICY "Callers manage their own projects" ON optimization_run_leases TO optimization_app
    USING (
        project_id = ANY ((SELECT optimization_current_projects())::text[])
        AND run_id NOT IN (SELECT gone.run_id FROM optimization_deleted_runs AS gone)
    )
    WITH CHECK (project_id = ANY ((SELECT optimization_current_projects())::text[]));
GRANT SELECT, INSERT, UPDATE, DELETE ON optimization_run_leases TO optimization_app, optimization_service;
