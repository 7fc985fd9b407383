-- A key that this transaction is the first to use; waits for another one that is just using it.
-- Grain: one row, none where the key was used before. Parameters: project_id, key, request_sha256.
INSERT INTO optimization_idempotency_keys (project_id, key, request_sha256)
VALUES (%(project_id)s, %(key)s, %(request_sha256)s)
ON CONFLICT (project_id, key) DO NOTHING
RETURNING true
