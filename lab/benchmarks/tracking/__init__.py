"""What optimization tracking costs, beside MLflow's tracking server and Optuna's RDB storage on the same Postgres."""
