-- A key that ends when its time of grace is over, unless it ends sooner already.
-- Grain: one row, none where the key is revoked or expired. Parameters: id, grace (an interval).
UPDATE optimization_api_keys
SET expires_at = least(expires_at, now() + %(grace)s)
WHERE id = %(id)s
    AND revoked_at IS NULL
    AND (expires_at IS NULL OR expires_at > now())
RETURNING {% include '_api_key_columns.sql' %}
