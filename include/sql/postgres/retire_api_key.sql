-- A key that ends when its time of grace is over, unless it ends sooner already.
-- Grain: one row. Parameters: id, grace (an interval).
UPDATE optimization_api_keys SET expires_at = least(expires_at, now() + %(grace)s) WHERE id = %(id)s RETURNING {% include '_api_key_columns.sql' %}
