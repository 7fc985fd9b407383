ALTER TABLE optimization_runs DROP COLUMN metric;
