DROP TABLE optimization_samples, optimization_iterations, optimization_runs, project_config;
DROP DOMAIN optimization_amount, optimization_score;
