numbered AS (
    SELECT
        it.iteration,
        it.score,
        row_number() OVER by_number AS place,
        count(*) OVER ()            AS total,
        run.sign * it.score         AS merit,
        max(run.sign * it.score) OVER (ORDER BY it.iteration ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS best_before
    FROM optimization_iterations AS it
    JOIN run ON run.id = it.run_id
    WINDOW by_number AS (ORDER BY it.iteration)
),
judged AS (
    SELECT
        *,
        merit > coalesce(best_before, '-infinity')          AS is_new_best,
        (place - 1) * (%(max_points)s::integer / 2) / total AS part
    FROM numbered
),
counted AS (
    SELECT
        *,
        count(*) FILTER (WHERE is_new_best) OVER ()                                 AS new_bests,
        row_number() OVER (PARTITION BY part ORDER BY merit DESC NULLS LAST, place) AS from_best,
        row_number() OVER (PARTITION BY part ORDER BY merit NULLS LAST, place)      AS from_worst
    FROM judged
),
kept AS (
    SELECT iteration, score, greatest(best_before, merit) AS best
    FROM counted
    WHERE total <= %(max_points)s::integer
        OR from_best = 1
        OR from_worst = 1
        OR place = total
        OR is_new_best AND new_bests <= %(max_points)s::integer
)
