"""The control plane: the opt_* tables that the optimizer, the UI and the bidder share.

engine              open a database; one transaction, one consistent read
schema              create and check the tables
tables              the tables themselves
records, live_rows  frozen models of their rows
entities            what to optimize, and with which config keys
runs                the life of a run
registry            what a completed run leaves
deployments         deploy a split by hand or for a scheduled run, pin it, set the control
rollbacks           go back to an earlier split
canary_splits       try a run on part of the traffic
split_rules         which splits an entity may serve
split_changes       the transaction that replaces a split
deployment_history  what is live and what was
splits              the deployments as splits, one after the other

Runs on SQLite, MariaDB 10.6+ and MySQL 8. Neither Airflow nor a database driver is imported before an engine is opened.
"""
