-- The keys of a project, or of all where project_id is NULL; never their hashes.
-- Grain: one row a key. Parameters: project_id.
SELECT {% include '_api_key_columns.sql' %}
FROM optimization_api_keys
WHERE %(project_id)s::text IS NULL OR project_id = %(project_id)s
ORDER BY project_id, created_at, id
