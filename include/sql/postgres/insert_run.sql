-- A new run, as it stands afterwards, by a statement that is a transaction of its own.
-- Grain: one row; none where its creation_key has made a run already, also where another transaction is just doing that.
-- Parameters: actor, as begin_as.sql has it; run, its columns as a JSON object; max_bytes of its JSON and texts.
SELECT {% include '_run_columns.sql' %}
FROM optimization_create_run(%(actor)s, %(run)s, %(max_bytes)s)
