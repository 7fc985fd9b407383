-- Who may see and write what. The database decides; the service only says for whom it asks.
--
-- optimization_app      requests: sees the projects named in the transaction's app.projects, an array literal such as
--                       {shop,search}; without it nothing. Owns no table.
-- optimization_service  administration: every project. The command line's keys, analytics.
-- Both are roles without a login; the service's own login is a member of optimization_app.
-- FORCE: even the owner of the tables sees nothing unless it takes one of the two roles.

DO $$
BEGIN
    CREATE ROLE optimization_app NOLOGIN;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
END
$$;
DO $$
BEGIN
    CREATE ROLE optimization_service NOLOGIN;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
END
$$;
GRANT optimization_app, optimization_service TO CURRENT_USER;
GRANT USAGE ON SCHEMA public TO optimization_app, optimization_service;

CREATE TABLE optimization_api_keys (
    id               uuid        NOT NULL DEFAULT gen_random_uuid() PRIMARY KEY,
    project_id       text        NOT NULL REFERENCES project_config (id) ON DELETE CASCADE,
    name             text        NOT NULL,
    prefix           text        NOT NULL,
    sha256           bytea       NOT NULL UNIQUE,
    scopes           text[]      NOT NULL,
    rate_limit_per_s integer     NOT NULL DEFAULT 1000,
    created_at       timestamptz NOT NULL DEFAULT now(),
    expires_at       timestamptz,
    revoked_at       timestamptz,
    last_used_at     timestamptz,
    CONSTRAINT optimization_api_keys_sha256 CHECK (length(sha256) = 32),
    CONSTRAINT optimization_api_keys_scopes CHECK (cardinality(scopes) > 0 AND scopes <@ ARRAY['read', 'write']),
    CONSTRAINT optimization_api_keys_rate_limit CHECK (rate_limit_per_s > 0)
);
CREATE INDEX idx_optimization_api_keys_project_id ON optimization_api_keys (project_id, created_at);

CREATE TABLE optimization_idempotency_keys (
    project_id     text        NOT NULL REFERENCES project_config (id) ON DELETE CASCADE,
    key            text        NOT NULL,
    request_sha256 bytea       NOT NULL,
    answer         bytea,
    created_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (project_id, key)
);
CREATE INDEX idx_optimization_idempotency_keys_created_at ON optimization_idempotency_keys (created_at);

CREATE FUNCTION optimization_current_projects() RETURNS text[]
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT NULLIF(current_setting('app.projects', true), '')::text[]
$$;

-- The sub-select makes it one call a statement, not one a row.
ALTER TABLE project_config ENABLE ROW LEVEL SECURITY;
ALTER TABLE project_config FORCE ROW LEVEL SECURITY;
CREATE POLICY "Service role has full access" ON project_config
    TO optimization_service USING (true) WITH CHECK (true);
CREATE POLICY "Callers see their own projects" ON project_config FOR SELECT
    TO optimization_app USING (id = ANY ((SELECT optimization_current_projects())::text[]));

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY[
        'optimization_runs', 'optimization_iterations', 'optimization_samples', 'optimization_idempotency_keys'
    ] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format(
            'CREATE POLICY "Service role has full access" ON %I TO optimization_service USING (true) WITH CHECK (true)',
            name
        );
        EXECUTE format(
            'CREATE POLICY "Callers manage their own projects" ON %I TO optimization_app '
            'USING (project_id = ANY ((SELECT optimization_current_projects())::text[])) '
            'WITH CHECK (project_id = ANY ((SELECT optimization_current_projects())::text[]))',
            name
        );
    END LOOP;
END
$$;
ALTER TABLE optimization_api_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE optimization_api_keys FORCE ROW LEVEL SECURITY;
CREATE POLICY "Service role has full access" ON optimization_api_keys
    TO optimization_service USING (true) WITH CHECK (true);

GRANT SELECT ON project_config, optimization_iterations_judged TO optimization_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON optimization_runs TO optimization_app;
GRANT SELECT, INSERT ON optimization_iterations, optimization_samples TO optimization_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON optimization_idempotency_keys TO optimization_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON
    project_config, optimization_runs, optimization_iterations, optimization_samples, optimization_api_keys,
    optimization_idempotency_keys TO optimization_service;
GRANT SELECT ON optimization_iterations_judged TO optimization_service;

-- The revision, so that the service can say when it differs from what it needs.
GRANT SELECT ON optimization_schema_version TO optimization_app, optimization_service;
