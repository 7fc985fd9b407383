-- Who may ask which projects there are: the service, before it knows for whom it asks. A caller's own transaction, which
-- runs as optimization_app, learns of its own projects only.
--
-- optimization_gate  the service's login is a member of it, beside optimization_app.

DO $$
BEGIN
    CREATE ROLE optimization_gate NOLOGIN;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
END
$$;
GRANT optimization_gate TO CURRENT_USER;
GRANT USAGE ON SCHEMA public TO optimization_gate;

REVOKE EXECUTE ON FUNCTION optimization_list_projects() FROM optimization_app;
GRANT EXECUTE ON FUNCTION optimization_list_projects() TO optimization_gate;
