-- Keeps the answer for those who use the key again. Grain: none. Parameters: project_id, key, answer.
UPDATE optimization_idempotency_keys SET answer = %(answer)s WHERE project_id = %(project_id)s AND key = %(key)s
