-- What a used key was used for, and the answer it got.
-- Grain: one row. Parameters: project_id, key.
SELECT request_sha256, answer FROM optimization_idempotency_keys WHERE project_id = %(project_id)s AND key = %(key)s
