"""The optimizer's mathematics and rules: values in, values out; no Airflow, no network, no clock."""
