"""What thousands of entities cost: DAG files as Airflow parses them, and the commands that read all entities.

parse_file.py  reads one DAG file in a process of its own, as Airflow does
parsing.py     the DAG files of a fleet, next to a bare file and to Airflow's own import
commands.py    the command line on a fleet, with an object store and a stand-in of Airflow
airflow.py     that stand-in
"""
