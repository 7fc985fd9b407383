-- A run's iterations as a chart draws them: all, or of more than max_points every n-th and the last; and each new best
-- one, unless these are more than max_points. best_score is exact in every row.
-- Grain: one row an iteration. Parameters: run_id, max_points.
WITH numbered AS (
    SELECT
        it.iteration,
        it.score,
        it.params,
        row_number() OVER by_number AS place,
        count(*) OVER () AS total,
        CASE run.direction
            WHEN 'minimize' THEN min(it.score) OVER by_number
            ELSE max(it.score) OVER by_number
        END AS best_score
    FROM optimization_iterations AS it
    JOIN optimization_runs AS run ON run.id = it.run_id AND run.project_id = it.project_id
    WHERE it.run_id = %(run_id)s
    WINDOW by_number AS (ORDER BY it.iteration)
),
judged AS (
    SELECT *, best_score IS DISTINCT FROM lag(best_score) OVER (ORDER BY iteration) AS is_new_best
    FROM numbered
),
counted AS (
    SELECT *, count(*) FILTER (WHERE is_new_best) OVER () AS new_bests
    FROM judged
)
SELECT iteration, score, best_score, params
FROM counted
WHERE place %% ceil(total::numeric / %(max_points)s)::bigint = 0
    OR place = total
    OR is_new_best AND new_bests <= %(max_points)s
ORDER BY iteration
