-- Make the rest of the transaction that of a caller.
-- Grain: one row. Parameters: projects, the ids that the caller may see, as an array.
SELECT set_config('role', 'optimization_app', true), set_config('app.projects', %(projects)s::text[]::text, true)
