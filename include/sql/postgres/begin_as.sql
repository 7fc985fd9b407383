-- Begin a transaction of a caller's.
-- Grain: one row. Parameters: projects, the ids that the caller may see, as an array; actor, who writes, for the audit.
BEGIN;
SELECT
    set_config('role', 'optimization_app', true),
    set_config('app.projects', %(projects)s::text[]::text, true),
    set_config('app.actor', %(actor)s, true)
