-- Which directions and metrics the runs of some conditions have.
-- Grain: one row a direction and metric, the most runs first. Parameters: those of the conditions.
SELECT direction, metric, count(*) AS runs
FROM optimization_runs
WHERE {% include '_run_conditions.sql' %}
GROUP BY direction, metric
ORDER BY runs DESC, direction, metric NULLS LAST
