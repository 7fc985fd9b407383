-- The leases of a run that last: the processes that work on it.
-- Grain: one row a lease, by its owner. Parameters: run_id.
SELECT run_id, owner, expires_at
FROM optimization_run_leases
WHERE run_id = %(run_id)s AND expires_at > now()
ORDER BY owner
