-- A lease of a run that its owner no longer needs.
-- Grain: one row, none where there was no such lease. Parameters: run_id, owner.
DELETE FROM optimization_run_leases
WHERE run_id = %(run_id)s AND owner = %(owner)s
RETURNING run_id, owner
