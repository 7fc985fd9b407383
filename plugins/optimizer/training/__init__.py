"""LightGBM models, fitted in a process of their own.

Airflow forks its task processes, and LightGBM's threads hang in a fork; so `process` starts a fresh interpreter.
"""
