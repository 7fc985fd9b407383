-- A clock that was set back costs neither a run's end nor an iteration: where the stated end is before the start, the
-- service's clock decides, and the stated time is kept beside it.

ALTER TABLE optimization_runs ADD COLUMN stated_end_time timestamptz;
ALTER TABLE optimization_iterations DROP CONSTRAINT optimization_iterations_end_time;
