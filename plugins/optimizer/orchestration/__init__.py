"""The only room that knows Airflow: connections, DAGs and their trigger form."""
