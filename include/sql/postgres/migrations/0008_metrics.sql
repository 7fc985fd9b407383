-- What a run's scores measure, for people who did not make it.
ALTER TABLE optimization_runs
    ADD COLUMN metric text CONSTRAINT optimization_runs_metric CHECK (length(metric) BETWEEN 1 AND 200);
