-- The ids of a project's runs that contain a config, metadata and tags, at most row_cap of them, by the GIN indexes.
-- Grain: one row a run. Parameters: project_id, config, metadata, tags (each may be NULL), row_cap.
SELECT optimization_find_runs(%(project_id)s, %(config)s::jsonb, %(metadata)s::jsonb, %(tags)s::text[], %(row_cap)s)
