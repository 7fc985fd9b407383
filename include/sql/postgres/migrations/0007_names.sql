-- Finding a part of a name without reading the runs themselves: every folded name is in the index, with its run's id.
--
-- Folded: compatibility characters as their plain ones (NFKC), without what cannot be seen (zero-width characters, marks of
-- direction, variation selectors), in lower case; the lower case of the same capital is the same letter (σ and ς, i and ı,
-- ss and ß). The collation knows the letters beyond ASCII whatever the database's own is; it is the first of these that the
-- server has.

DO $$
DECLARE
    letters text := (
        SELECT quote_ident(collname) FROM pg_collation
        WHERE collnamespace = 'pg_catalog'::regnamespace AND collname IN ('pg_c_utf8', 'und-x-icu', 'C.utf8', 'default')
        ORDER BY array_position(ARRAY['pg_c_utf8', 'und-x-icu', 'C.utf8', 'default'], collname::text) LIMIT 1
    );
BEGIN
    EXECUTE format(
        $function$
        CREATE FUNCTION optimization_fold(given text) RETURNS text
        LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT AS $body$
            SELECT replace(
                replace(
                    translate(
                        lower(
                            normalize(
                                translate(
                                    given,
                                    U&'\00AD\034F\061C\115F\1160\17B4\17B5\180B\180C\180D\180E\180F'
                                    '\200B\200C\200D\200E\200F\202A\202B\202C\202D\202E\2060\2061\2062\2063\2064'
                                    '\2065\2066\2067\2068\2069\206A\206B\206C\206D\206E\206F\3164\FEFF\FFA0'
                                    '\FE00\FE01\FE02\FE03\FE04\FE05\FE06\FE07\FE08\FE09\FE0A\FE0B\FE0C\FE0D\FE0E\FE0F',
                                    ''
                                ),
                                NFKC
                            ) COLLATE pg_catalog.%s
                        ),
                        U&'\03C2\0131', U&'\03C3i'
                    ),
                    U&'i\0307', 'i'
                ),
                U&'\00DF', 'ss'
            )
        $body$
        $function$,
        letters
    );
END
$$;

ALTER TABLE optimization_runs
    ADD COLUMN search_name text GENERATED ALWAYS AS (optimization_fold(run_name)) STORED;
CREATE INDEX idx_optimization_runs_search_name ON optimization_runs (project_id, search_name) INCLUDE (id);

-- Returns the ids of the caller's runs that have the text in their name, at most `cap`. Where the newest 20,000 runs fill
-- the longest page (100), a list in its own order is sooner at its end: one NULL says so.
GRANT CREATE ON SCHEMA public TO optimization_service;
CREATE FUNCTION optimization_find_named_runs(of_project text, part text, cap integer)
RETURNS SETOF uuid
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF NOT coalesce(of_project = ANY (optimization_current_projects()), false) THEN
        RETURN;
    END IF;
    IF (
        SELECT count(*) >= 100
        FROM (
            SELECT run.search_name FROM optimization_runs AS run WHERE run.project_id = of_project
            ORDER BY run.created_at DESC, run.id DESC LIMIT 20000
        ) AS newest
        WHERE strpos(newest.search_name, optimization_fold(part)) > 0
    ) THEN
        RETURN NEXT NULL;
        RETURN;
    END IF;
    -- By itself, so that it is planned for this project.
    RETURN QUERY EXECUTE
        'SELECT run.id FROM optimization_runs AS run'
        || ' WHERE run.project_id = $1 AND strpos(run.search_name, $2) > 0 LIMIT $3'
        USING of_project, optimization_fold(part), cap;
END
$$;
ALTER FUNCTION optimization_find_named_runs(text, text, integer) OWNER TO optimization_service;
REVOKE CREATE ON SCHEMA public FROM optimization_service;
REVOKE EXECUTE ON FUNCTION optimization_find_named_runs(text, text, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION optimization_find_named_runs(text, text, integer) TO optimization_app, optimization_service;
