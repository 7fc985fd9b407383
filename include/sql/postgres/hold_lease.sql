-- A lease of a run, taken or renewed.
-- Grain: one row, none where the caller may not see the run. Parameters: run_id, owner, seconds.
WITH expired AS (
    DELETE FROM optimization_run_leases
    WHERE project_id = (SELECT project_id FROM optimization_runs WHERE id = %(run_id)s)
        AND expires_at < now() - interval '1 day'
)
INSERT INTO optimization_run_leases (project_id, run_id, owner, expires_at)
SELECT project_id, id, %(owner)s, now() + %(seconds)s * interval '1 second'
FROM optimization_runs
WHERE id = %(run_id)s
ON CONFLICT (run_id, owner) DO UPDATE SET expires_at = excluded.expires_at
RETURNING run_id, owner, expires_at
