DROP TRIGGER measure_optimization_run ON optimization_runs;
DROP FUNCTION measure_optimization_run();
ALTER TABLE optimization_runs DROP COLUMN bytes;
ALTER TABLE optimization_samples DROP COLUMN bytes;
ALTER TABLE optimization_iterations DROP COLUMN bytes;
