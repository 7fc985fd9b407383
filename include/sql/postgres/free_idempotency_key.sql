-- Frees a key whose run was deleted; nothing where another transaction has used it again meanwhile.
-- Grain: none. Parameters: project_id, key, answer, the one it got.
DELETE FROM optimization_idempotency_keys
WHERE project_id = %(project_id)s AND key = %(key)s AND answer = %(answer)s
