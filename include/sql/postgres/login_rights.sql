-- What makes a login unfit to serve: it owns the tables, or can take the role that sees every project.
-- Grain: one row. Parameters: none.
SELECT
    current_user::text AS login,
    EXISTS (SELECT FROM pg_class WHERE relname = 'optimization_runs' AND relowner = current_user::regrole)
        OR EXISTS (
            SELECT FROM pg_roles WHERE rolname = 'optimization_service' AND pg_has_role(current_user, oid, 'MEMBER')
        ) AS sees_every_project
