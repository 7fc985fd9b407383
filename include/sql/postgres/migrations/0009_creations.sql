-- A run knows the Idempotency-Key that made it, so that a creation that comes again finds its run however late that is: a
-- client may have been offline for weeks. Whoever deletes the run frees the key.

ALTER TABLE optimization_runs ADD COLUMN creation_key text, ADD COLUMN creation_sha256 bytea;

-- The keys of the last day: of each, the answer names the run.
ALTER TABLE optimization_runs DISABLE TRIGGER update_optimization_runs_updated_at, DISABLE TRIGGER note_updated_run;
SET LOCAL ROLE optimization_service;
UPDATE optimization_runs AS run
SET creation_key = used.key, creation_sha256 = used.request_sha256
FROM optimization_idempotency_keys AS used
WHERE run.project_id = used.project_id
    AND run.id::text = convert_from(used.answer, 'UTF8')::jsonb #>> '{data,id}'
    AND run.id NOT IN (SELECT gone.run_id FROM optimization_deleted_runs AS gone);
RESET ROLE;
ALTER TABLE optimization_runs ENABLE TRIGGER update_optimization_runs_updated_at, ENABLE TRIGGER note_updated_run;

CREATE UNIQUE INDEX idx_optimization_runs_creation_key ON optimization_runs (project_id, creation_key)
    WHERE creation_key IS NOT NULL;
