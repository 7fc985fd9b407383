-- How many of a project's runs the conditions match.
-- Grain: one row. Parameters: as list_runs.sql.
SELECT count(*) FROM optimization_runs WHERE {% include '_run_conditions.sql' %}
