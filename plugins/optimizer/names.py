"""Names that several packages share and users see."""

DAG_PREFIX = "optimize__"
"""An entity's DAG is called this and its entity_code."""

TRAINING_POOL = "optimizer_training"
"""Airflow's pool for training: one slot, one model at a time."""

CONTROL_PLANE_CONNECTION = "optimizer_control_plane"
CONSOLE_CONNECTION = "optimizer_console"
WAREHOUSE_CONNECTION = "optimizer_warehouse"
OBJECTS_CONNECTION = "optimizer_objects"
"""Airflow's connections to the three systems."""

MONITOR_DAG = "monitor"
"""The DAG that compares live runs with their forecasts every morning."""

PENDING_RUNS_DAG = "pending_runs"
"""The DAG that claims the runs that the UI inserts."""

CLAIM_PREFIX = "ui__"
"""The dag_run_id of a run that the UI inserted is this and its run_id."""

TRACKING_URL_VARIABLE = "OPTIMIZER_TRACKING_URL"
"""The environment variable with the tracking database's URL."""

TRACKING_PROJECT = "rtb"
"""The project that the embedded stack's own runs are tracked in."""

TRACKING_PREFIX = "/api/optimization"
"""Where the tracking API is served, alone and in Airflow's api-server."""

DASHBOARD_PATH = "/dashboard"
"""Where below it the pages for people are."""

TRACKING_API_URL_VARIABLE = "OPTIMIZER_TRACKING_API_URL"
TRACKING_KEY_VARIABLE = "OPTIMIZER_TRACKING_KEY"
TRACKING_QUEUE_VARIABLE = "OPTIMIZER_TRACKING_QUEUE"
"""Environment variables of the tracking client: the API, the project's key, the folder for what waits to be sent."""

CONSOLE_PREFIX = "/optimizer"
"""Where Airflow's api-server serves the console."""

CONSOLE_API_PATH = "/api"
"""Where below it the JSON API is."""

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""Environment variables with the number of threads that libraries of mathematics start in a process."""

DASK_SCHEDULER_VARIABLE = "OPTIMIZER_DASK_SCHEDULER"
"""Environment variable with the address of the Dask cluster that trains the entities whose config says so."""
