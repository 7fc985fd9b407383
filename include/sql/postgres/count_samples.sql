-- How many of a run's samples the conditions match.
-- Grain: one row. Parameters: as list_samples.sql.
SELECT count(*) FROM optimization_samples WHERE {% include '_sample_conditions.sql' %}
