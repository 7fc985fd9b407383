"""What optimization tracking costs, next to MLflow's tracking server and Optuna's RDB storage on the same Postgres."""
