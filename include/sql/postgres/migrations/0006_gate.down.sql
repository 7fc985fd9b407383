GRANT EXECUTE ON FUNCTION optimization_list_projects() TO optimization_app;
REVOKE EXECUTE ON FUNCTION optimization_list_projects() FROM optimization_gate;
REVOKE USAGE ON SCHEMA public FROM optimization_gate;
-- The role belongs to the whole server and may serve other databases: it stays.
