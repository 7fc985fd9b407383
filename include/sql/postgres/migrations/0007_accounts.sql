-- Who sees every project, and who wrote what.
--
-- A login that is a member of optimization_service, such as the tables' owner, sees every project only while it has taken
-- that role (SET ROLE): its membership alone shows it nothing.

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY[
        'project_config', 'optimization_runs', 'optimization_iterations', 'optimization_samples',
        'optimization_api_keys', 'optimization_idempotency_keys'
    ] LOOP
        EXECUTE format(
            'ALTER POLICY "Service role has full access" ON %I '
            'USING (current_user = ''optimization_service'') WITH CHECK (current_user = ''optimization_service'')',
            name
        );
    END LOOP;
END
$$;

-- Whether the caller has taken the role. It is called IMMUTABLE so that the planner answers it once: as a condition of each
-- row it would keep a search inside JSON, tags or names from its index. A plan under row-level security is made anew for
-- another role, so the answer is never another role's.
CREATE FUNCTION optimization_is_service() RETURNS boolean
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    RETURN current_user = 'optimization_service';
END
$$;
ALTER POLICY "Service role has full access" ON optimization_runs
    USING (optimization_is_service()) WITH CHECK (current_user = 'optimization_service');

-- A row for each statement that wrote runs, iterations or samples. actor is what the service says of its caller (app.actor:
-- key <id of optimization_api_keys>, or login <name>), else the database's login.
CREATE TABLE optimization_audit (
    id         bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at         timestamptz NOT NULL DEFAULT now(),
    actor      text        NOT NULL,
    action     text        NOT NULL,
    project_id text        NOT NULL,
    run_id     uuid        NOT NULL,
    row_count  integer     NOT NULL,
    CONSTRAINT optimization_audit_action CHECK
        (action IN ('create run', 'update run', 'delete run', 'add iterations', 'add samples'))
);
CREATE INDEX idx_optimization_audit_at ON optimization_audit USING brin (at);
ALTER TABLE optimization_audit ENABLE ROW LEVEL SECURITY;
ALTER TABLE optimization_audit FORCE ROW LEVEL SECURITY;
CREATE POLICY "Service role has full access" ON optimization_audit TO optimization_service
    USING (current_user = 'optimization_service') WITH CHECK (current_user = 'optimization_service');
GRANT SELECT, INSERT, DELETE ON optimization_audit TO optimization_service;

GRANT CREATE ON SCHEMA public TO optimization_service; -- to own what follows; taken back at the end
CREATE FUNCTION optimization_note_write() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    writer text := coalesce(NULLIF(current_setting('app.actor', true), ''), 'database ' || session_user);
BEGIN
    IF TG_TABLE_NAME = 'optimization_runs' THEN
        INSERT INTO optimization_audit (actor, action, project_id, run_id, row_count)
        SELECT writer, TG_ARGV[0], project_id, id, 1 FROM written
        WHERE id NOT IN (SELECT gone.run_id FROM optimization_deleted_runs AS gone); -- noted when it was marked
    ELSE
        INSERT INTO optimization_audit (actor, action, project_id, run_id, row_count)
        SELECT writer, TG_ARGV[0], project_id, run_id, count(*) FROM written GROUP BY project_id, run_id;
    END IF;
    RETURN NULL;
END
$$;
ALTER FUNCTION optimization_note_write() OWNER TO optimization_service;

CREATE FUNCTION optimization_forget_audit(older_than interval) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    WITH forgotten AS (DELETE FROM optimization_audit WHERE at < now() - older_than RETURNING 1)
    SELECT count(*) FROM forgotten
$$;
ALTER FUNCTION optimization_forget_audit(interval) OWNER TO optimization_service;
REVOKE CREATE ON SCHEMA public FROM optimization_service;

CREATE TRIGGER note_created_run AFTER INSERT ON optimization_runs
    REFERENCING NEW TABLE AS written
    FOR EACH STATEMENT EXECUTE FUNCTION optimization_note_write('create run');
-- Not where a trigger updates the run because iterations came: they have a row of their own.
CREATE TRIGGER note_updated_run AFTER UPDATE ON optimization_runs
    REFERENCING NEW TABLE AS written
    FOR EACH STATEMENT WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION optimization_note_write('update run');
CREATE TRIGGER note_deleted_run AFTER INSERT ON optimization_deleted_runs
    REFERENCING NEW TABLE AS written
    FOR EACH STATEMENT EXECUTE FUNCTION optimization_note_write('delete run');
-- An administrator may delete a run without a mark.
CREATE TRIGGER note_removed_run AFTER DELETE ON optimization_runs
    REFERENCING OLD TABLE AS written
    FOR EACH STATEMENT EXECUTE FUNCTION optimization_note_write('delete run');
CREATE TRIGGER note_added_iterations AFTER INSERT ON optimization_iterations
    REFERENCING NEW TABLE AS written
    FOR EACH STATEMENT EXECUTE FUNCTION optimization_note_write('add iterations');
CREATE TRIGGER note_added_samples AFTER INSERT ON optimization_samples
    REFERENCING NEW TABLE AS written
    FOR EACH STATEMENT EXECUTE FUNCTION optimization_note_write('add samples');

-- What is forgotten is the service's own business, not a caller's.
REVOKE EXECUTE ON FUNCTION optimization_forget_audit(interval) FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION optimization_forget_idempotency_keys(interval) FROM optimization_app;
GRANT EXECUTE ON FUNCTION optimization_forget_audit(interval), optimization_forget_idempotency_keys(interval)
    TO optimization_gate;
