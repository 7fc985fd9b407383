"""Optimization tracking: runs, iterations and samples of any optimizer, over HTTP, in Postgres.

models/      what goes in and out as JSON: camelCase outside, snake_case inside
routes/      the API, one module a resource
tables/      what is asked of Postgres, one module a table; the statements are in include/sql/postgres/
migrations/  the schema's versions
client/      what programs log and read with, installable without the service
commands/    `python -m optimization_tracking serve|migrate|keys|list|show|…`
app.py       puts the service together; auth.py authenticates callers, problem_details.py writes errors
"""
