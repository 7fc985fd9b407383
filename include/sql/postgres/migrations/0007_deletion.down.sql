-- What callers have deleted must not come back.
SET LOCAL ROLE optimization_service;
DELETE FROM optimization_runs AS run USING optimization_deleted_runs AS gone
WHERE gone.project_id = run.project_id AND gone.run_id = run.id;
RESET ROLE;
GRANT DELETE ON optimization_runs TO optimization_app;
DROP FUNCTION optimization_remove_deleted(integer);
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['optimization_runs', 'optimization_iterations', 'optimization_samples'] LOOP
        EXECUTE format(
            'ALTER POLICY "Callers manage their own projects" ON %I '
            'USING (project_id = ANY ((SELECT optimization_current_projects())::text[]))',
            name
        );
    END LOOP;
END
$$;
DROP TABLE optimization_deleted_runs;
