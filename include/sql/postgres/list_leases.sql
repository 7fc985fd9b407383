-- The leases of a run that last: the processes that work on it.
-- Grain: one row a lease, by its owner. Parameters: run_id, row_limit; after_key, an owner (asked: after).
SELECT run_id, owner, expires_at
FROM optimization_run_leases
WHERE run_id = %(run_id)s AND expires_at > now()
    {% if 'after' in asked %}
    AND owner > %(after_key)s
    {% endif %}
ORDER BY owner
LIMIT %(row_limit)s
