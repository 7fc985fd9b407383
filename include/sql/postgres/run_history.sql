-- A run's iterations as a chart draws them: all, or of more than max_points the best and the worst of each of max_points / 2
-- equal parts, the last one, and each new best one, unless these are more than max_points. best_score is exact in every row.
-- Of a run with ranges (range_size is not NULL; asked: ranges) only those iterations are read, from the ranges' extremes.
-- Grain: one row an iteration. Parameters: run_id, max_points; max_bytes, of all params that are asked for (asked: params).
WITH run AS (
    SELECT id, direction, range_size, CASE direction WHEN 'minimize' THEN -1 ELSE 1 END AS sign
    FROM optimization_runs
    WHERE id = %(run_id)s
),
{% if 'ranges' in asked %}
{% include '_history_of_ranges.sql' %}
{% else %}
{% include '_history_of_iterations.sql' %}
{% endif %}
, points AS (
    SELECT kept.iteration, kept.score, run.sign * kept.best AS best_score FROM kept CROSS JOIN run
)
{% if 'params' in asked %}
, measured AS (
    SELECT points.*, it.params, sum(octet_length(it.params::text)) OVER (ORDER BY points.iteration) AS bytes_so_far
    FROM points
    CROSS JOIN LATERAL (
        SELECT CASE WHEN pg_column_size(own.params) <= 1000 THEN own.params END AS params
        FROM optimization_iterations AS own
        WHERE own.run_id = %(run_id)s AND own.iteration = points.iteration
        LIMIT 1 -- one by one by the index: the planner expects more points than there are
    ) AS it
)
SELECT iteration, score, best_score, CASE WHEN bytes_so_far <= %(max_bytes)s THEN params END AS params
FROM measured
{% else %}
SELECT iteration, score, best_score FROM points
{% endif %}
ORDER BY iteration
