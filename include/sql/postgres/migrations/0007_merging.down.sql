CREATE OR REPLACE FUNCTION update_optimization_runs_updated_at() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END
$$;
DROP FUNCTION optimization_merge_patch(jsonb, jsonb);
