-- A key that ended now.
-- Grain: one row. Parameters: id.
UPDATE optimization_api_keys SET revoked_at = now() WHERE id = %(id)s RETURNING {% include '_api_key_columns.sql' %}
