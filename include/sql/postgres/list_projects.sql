-- The caller's projects.
-- Grain: one row a project. Parameters: none.
SELECT id, name, created_at FROM project_config ORDER BY id
