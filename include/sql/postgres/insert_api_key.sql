-- A new key. Runs as optimization_service, as the other statements on keys.
-- Grain: one row. Parameters: one a column; expires_at is NULL for a key that does not expire.
INSERT INTO optimization_api_keys (project_id, name, prefix, sha256, scopes, rate_limit_per_s, expires_at)
VALUES (
    %(project_id)s, %(name)s, %(prefix)s, %(sha256)s, %(scopes)s, %(rate_limit_per_s)s, %(expires_at)s
)
RETURNING {% include '_api_key_columns.sql' %}
