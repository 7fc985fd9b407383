DROP FUNCTION optimization_create_run;
DROP FUNCTION optimization_add_samples;
DROP FUNCTION optimization_add_iterations;
DROP FUNCTION optimization_act_for;
DO $$
DECLARE
    body text := (SELECT prosrc FROM pg_proc WHERE oid = 'optimization_fold(text)'::regprocedure);
BEGIN
    EXECUTE format(
        'CREATE OR REPLACE FUNCTION optimization_fold(given text) RETURNS text '
        'LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT AS %L',
        regexp_replace(body, '^BEGIN RETURN (.*); END$', 'SELECT \1')
    );
END
$$;
