-- How many processes work on a run.
-- Grain: one row. Parameters: run_id.
SELECT count(*) AS held
FROM optimization_run_leases
WHERE run_id = %(run_id)s AND expires_at > now()
