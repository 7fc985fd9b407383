-- How many of a run's samples the conditions match, counted up to row_cap.
-- Grain: one row. Parameters: as list_samples.sql; row_cap.
SELECT count(*) FROM (
    SELECT FROM optimization_samples WHERE {% include '_sample_conditions.sql' %} LIMIT %(row_cap)s
) AS counted
