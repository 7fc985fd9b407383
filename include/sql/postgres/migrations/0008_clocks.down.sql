ALTER TABLE optimization_iterations
    ADD CONSTRAINT optimization_iterations_end_time CHECK (iteration_end_time >= iteration_start_time) NOT VALID;
ALTER TABLE optimization_runs DROP COLUMN stated_end_time;
