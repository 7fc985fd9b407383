-- A run's iterations as a chart draws them: all, or of more than max_points every n-th, the last, and each new best one.
-- Grain: one row an iteration. Parameters: run_id, max_points.
WITH numbered AS (
    SELECT
        it.iteration,
        it.score,
        it.params,
        it.created_at,
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
)
SELECT iteration, score, best_score, params, created_at
FROM judged
WHERE is_new_best OR place = total OR place %% ceil(total::numeric / %(max_points)s)::bigint = 0
ORDER BY iteration
