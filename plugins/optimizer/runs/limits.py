"""Limits of a run."""

from datetime import timedelta

LONGEST_RUN = timedelta(hours=6)
"""Airflow ends a DAG run after this time; a row that is still running then belongs to a zombie run."""
