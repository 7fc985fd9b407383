DROP TABLE optimization_run_leases;
