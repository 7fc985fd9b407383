"""The only package that imports Airflow: connections, DAGs and their trigger form."""
