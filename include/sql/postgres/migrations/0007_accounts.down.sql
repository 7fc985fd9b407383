REVOKE EXECUTE ON FUNCTION optimization_forget_idempotency_keys(interval) FROM optimization_gate;
GRANT EXECUTE ON FUNCTION optimization_forget_idempotency_keys(interval) TO optimization_app;
DROP TRIGGER note_added_samples ON optimization_samples;
DROP TRIGGER note_added_iterations ON optimization_iterations;
DROP TRIGGER note_removed_run ON optimization_runs;
DROP TRIGGER note_deleted_run ON optimization_deleted_runs;
DROP TRIGGER note_updated_run ON optimization_runs;
DROP TRIGGER note_created_run ON optimization_runs;
DROP FUNCTION optimization_forget_audit(interval), optimization_note_write();
DROP TABLE optimization_audit;
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY[
        'project_config', 'optimization_runs', 'optimization_iterations', 'optimization_samples',
        'optimization_api_keys', 'optimization_idempotency_keys'
    ] LOOP
        EXECUTE format('ALTER POLICY "Service role has full access" ON %I USING (true) WITH CHECK (true)', name);
    END LOOP;
END
$$;
DROP FUNCTION optimization_is_service();
