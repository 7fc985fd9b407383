-- The caller's projects.
-- Grain: one row a project, by its id. Parameters: row_limit; after_key, an id (asked: after).
SELECT id, name, created_at
FROM project_config
{% if 'after' in asked %}
WHERE id > %(after_key)s
{% endif %}
ORDER BY id
LIMIT %(row_limit)s
