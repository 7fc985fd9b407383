ranges AS (
    SELECT
        known.number,
        known.scores,
        run.sign * CASE run.sign WHEN 1 THEN known.high_score ELSE known.low_score END AS merit,
        CASE run.sign WHEN 1 THEN known.high_iteration ELSE known.low_iteration END    AS best_iteration,
        run.sign * CASE run.sign WHEN 1 THEN known.low_score ELSE known.high_score END AS worst_merit,
        CASE run.sign WHEN 1 THEN known.low_iteration ELSE known.high_iteration END    AS worst_iteration
    FROM optimization_score_ranges AS known
    JOIN run ON run.id = known.run_id
),
judged AS (
    SELECT
        *,
        max(merit) OVER (ORDER BY number ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS best_before,
        ntile(%(max_points)s::integer / 2) OVER (ORDER BY number)                          AS part
    FROM ranges
),
-- In a range that has new best ones, they are searched for; unless there are too many rows to read.
rising AS (
    SELECT number, best_before, sum(scores) OVER () AS all_scores
    FROM judged
    WHERE merit > coalesce(best_before, '-infinity')
),
searched AS (
    SELECT it.iteration, it.score, count(*) OVER () AS new_bests
    FROM rising
    CROSS JOIN run
    CROSS JOIN LATERAL (
        SELECT
            own.iteration,
            own.score,
            run.sign * own.score AS merit,
            max(run.sign * own.score)
                OVER (ORDER BY own.iteration ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS best_before
        FROM optimization_iterations AS own
        WHERE own.run_id = run.id
            AND own.iteration BETWEEN rising.number::bigint * run.range_size
                AND (rising.number + 1)::bigint * run.range_size - 1
    ) AS it
    WHERE rising.all_scores <= 50000
        AND it.merit > coalesce(greatest(rising.best_before, it.best_before), '-infinity')
),
new_bests AS (
    SELECT iteration, score FROM searched WHERE new_bests <= %(max_points)s::integer
),
parts AS (
    SELECT
        (array_agg(best_iteration ORDER BY merit DESC, number))[1]  AS best_iteration,
        max(merit)                                                  AS merit,
        (array_agg(worst_iteration ORDER BY worst_merit, number))[1] AS worst_iteration,
        min(worst_merit)                                            AS worst_merit,
        bool_or(merit > coalesce(best_before, '-infinity'))         AS is_rising
    FROM judged
    GROUP BY part
),
last_one AS (
    SELECT iteration, score FROM optimization_iterations WHERE run_id = %(run_id)s ORDER BY iteration DESC LIMIT 1
),
chosen AS (
    SELECT parts.best_iteration AS iteration, run.sign * parts.merit AS score FROM parts CROSS JOIN run
    UNION
    -- Among new best ones that are left out, the best score up to the worst one is not known.
    SELECT parts.worst_iteration, run.sign * parts.worst_merit FROM parts CROSS JOIN run
    WHERE NOT parts.is_rising OR EXISTS (SELECT FROM new_bests)
    UNION
    SELECT iteration, score FROM new_bests
    UNION
    SELECT iteration, score FROM last_one
),
kept AS (
    SELECT chosen.iteration, chosen.score, max(run.sign * chosen.score) OVER (ORDER BY chosen.iteration) AS best
    FROM chosen CROSS JOIN run
)
