-- How many bytes the JSON and the texts of a row have. A page ends where the next row would exceed its bytes, and is cut
-- without reading a row that it leaves out.

ALTER TABLE optimization_iterations ADD COLUMN bytes integer GENERATED ALWAYS AS (
    octet_length(params::text) + coalesce(octet_length(program::text), 0) + octet_length(metadata::text)
) STORED;
ALTER TABLE optimization_samples ADD COLUMN bytes integer GENERATED ALWAYS AS (
    coalesce(octet_length(input::text), 0) + coalesce(octet_length(predicted_output::text), 0)
    + coalesce(octet_length(expected_output::text), 0) + coalesce(octet_length(error_message), 0)
    + octet_length(metadata::text)
) STORED;

-- Not generated: that would measure the whole run again with each of its iterations.
ALTER TABLE optimization_runs ADD COLUMN bytes integer NOT NULL DEFAULT 0;

CREATE FUNCTION measure_optimization_run() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    NEW.bytes := octet_length(NEW.config::text) + octet_length(NEW.metadata::text)
        + coalesce(octet_length(NEW.best_program::text), 0) + coalesce(octet_length(NEW.final_program::text), 0)
        + coalesce(octet_length(NEW.evaluation_results::text), 0) + coalesce(octet_length(NEW.error_message), 0)
        + coalesce(octet_length(NEW.error_stack), 0) + octet_length(NEW.tags::text);
    RETURN NEW;
END
$$;

ALTER TABLE optimization_runs DISABLE TRIGGER update_optimization_runs_updated_at;
CREATE TRIGGER measure_optimization_run
    BEFORE INSERT OR UPDATE OF
        config, metadata, best_program, final_program, evaluation_results, error_message, error_stack, tags
    ON optimization_runs
    FOR EACH ROW EXECUTE FUNCTION measure_optimization_run();
SET LOCAL ROLE optimization_service;
UPDATE optimization_runs SET config = config;
RESET ROLE;
ALTER TABLE optimization_runs ENABLE TRIGGER update_optimization_runs_updated_at;
