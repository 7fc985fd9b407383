"""What a run costs beyond its work: Airflow's tasks against empty ones, and the extraction against a bare fetch."""
