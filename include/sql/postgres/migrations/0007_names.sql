-- Finding a part of a name without reading the runs themselves: every name is in the index, with its run's id.

DROP INDEX idx_optimization_runs_run_name;
CREATE INDEX idx_optimization_runs_run_name ON optimization_runs (project_id, run_name) INCLUDE (id);

-- Returns the ids of the caller's runs whose name is like the pattern, upper and lower case alike, at most `cap`. Where
-- the newest 20,000 runs fill the longest page (100), a list in its own order is sooner at its end: one NULL says so.
GRANT CREATE ON SCHEMA public TO optimization_service;
CREATE FUNCTION optimization_find_named_runs(of_project text, pattern text, cap integer)
RETURNS SETOF uuid
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF NOT coalesce(of_project = ANY (optimization_current_projects()), false) THEN
        RETURN;
    END IF;
    IF (
        SELECT count(*) >= 100
        FROM (
            SELECT run.run_name FROM optimization_runs AS run WHERE run.project_id = of_project
            ORDER BY run.created_at DESC, run.id DESC LIMIT 20000
        ) AS newest
        WHERE lower(newest.run_name) LIKE lower(pattern)
    ) THEN
        RETURN NEXT NULL;
        RETURN;
    END IF;
    -- By itself, so that it is planned for this project.
    RETURN QUERY EXECUTE
        'SELECT run.id FROM optimization_runs AS run'
        || ' WHERE run.project_id = $1 AND lower(run.run_name) LIKE lower($2) LIMIT $3'
        USING of_project, pattern, cap;
END
$$;
ALTER FUNCTION optimization_find_named_runs(text, text, integer) OWNER TO optimization_service;
REVOKE CREATE ON SCHEMA public FROM optimization_service;
REVOKE EXECUTE ON FUNCTION optimization_find_named_runs(text, text, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION optimization_find_named_runs(text, text, integer) TO optimization_app, optimization_service;
