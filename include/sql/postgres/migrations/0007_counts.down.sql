DROP TRIGGER count_stored_samples_after_delete ON optimization_samples;
DROP TRIGGER count_stored_samples_after_update ON optimization_samples;
DROP TRIGGER count_stored_samples ON optimization_samples;
CREATE OR REPLACE FUNCTION update_run_statistics_from_iterations() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM optimization_runs
        WHERE (project_id, id) IN (SELECT project_id, run_id FROM added)
        ORDER BY id FOR NO KEY UPDATE;
    WITH judged AS (
        SELECT
            added.*,
            CASE run.direction WHEN 'minimize' THEN -added.score ELSE added.score END AS merit
        FROM added
        JOIN optimization_runs AS run ON run.project_id = added.project_id AND run.id = added.run_id
    ),
    sums AS (
        SELECT
            project_id,
            run_id,
            count(*)                                                            AS iterations,
            coalesce(sum(samples_in_iteration), 0)                              AS samples,
            coalesce(sum(successful_samples), 0)                                AS successes,
            coalesce(sum(tokens_used), 0)                                       AS tokens,
            coalesce(sum(cost_usd), 0)                                          AS cost_usd,
            count(duration_ms)                                                  AS timed,
            coalesce(sum(duration_ms), 0)                                       AS timed_ms,
            max(merit)                                                          AS merit,
            (array_agg(iteration ORDER BY merit DESC NULLS LAST, iteration))[1] AS best_iteration
        FROM judged
        GROUP BY project_id, run_id
    ),
    compared AS (
        SELECT
            sums.*,
            sums.merit IS NOT NULL AND (
                run.best_iteration IS NULL
                OR (sums.merit, -sums.best_iteration)
                    > (CASE run.direction WHEN 'minimize' THEN -1 ELSE 1 END * run.best_iteration_score, -run.best_iteration)
            ) AS is_better
        FROM sums
        JOIN optimization_runs AS run ON run.project_id = sums.project_id AND run.id = sums.run_id
    )
    UPDATE optimization_runs AS run
    SET
        iterations           = run.iterations + compared.iterations,
        samples_evaluated    = run.samples_evaluated + compared.samples,
        successful_samples   = run.successful_samples + compared.successes,
        failed_samples       = run.failed_samples + compared.samples - compared.successes,
        total_tokens         = run.total_tokens + compared.tokens,
        total_cost_usd       = run.total_cost_usd + compared.cost_usd,
        timed_iterations     = run.timed_iterations + compared.timed,
        timed_ms             = run.timed_ms + compared.timed_ms,
        avg_latency_ms       = CASE WHEN compared.timed > 0
            THEN (run.timed_ms + compared.timed_ms)::double precision / (run.timed_iterations + compared.timed)
            ELSE run.avg_latency_ms END,
        best_iteration       = CASE WHEN is_better THEN compared.best_iteration ELSE run.best_iteration END,
        best_iteration_score = CASE WHEN is_better
            THEN CASE run.direction WHEN 'minimize' THEN -1 ELSE 1 END * compared.merit
            ELSE run.best_iteration_score END,
        best_score           = CASE WHEN is_better
            THEN CASE run.direction WHEN 'minimize' THEN -1 ELSE 1 END * compared.merit
            ELSE run.best_score END
    FROM compared
    WHERE run.project_id = compared.project_id AND run.id = compared.run_id;
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION mark_best_iteration() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM optimization_runs
        WHERE (project_id, id) IN (SELECT project_id, run_id FROM changed)
        ORDER BY id FOR NO KEY UPDATE;
    UPDATE optimization_runs AS run
    SET
        iterations           = sums.iterations,
        samples_evaluated    = sums.samples,
        successful_samples   = sums.successes,
        failed_samples       = sums.samples - sums.successes,
        total_tokens         = sums.tokens,
        total_cost_usd       = sums.cost_usd,
        timed_iterations     = sums.timed,
        timed_ms             = sums.timed_ms,
        avg_latency_ms       = sums.timed_ms::double precision / NULLIF(sums.timed, 0),
        best_iteration       = best.iteration,
        best_iteration_score = best.score,
        best_score           = best.score
    FROM optimization_runs AS counted
    CROSS JOIN LATERAL (
        SELECT
            count(*)                               AS iterations,
            coalesce(sum(samples_in_iteration), 0) AS samples,
            coalesce(sum(successful_samples), 0)   AS successes,
            coalesce(sum(tokens_used), 0)          AS tokens,
            coalesce(sum(cost_usd), 0)             AS cost_usd,
            count(duration_ms)                     AS timed,
            coalesce(sum(duration_ms), 0)          AS timed_ms
        FROM optimization_iterations
        WHERE run_id = counted.id
    ) AS sums
    LEFT JOIN LATERAL (
        SELECT iteration, score
        FROM optimization_iterations
        WHERE run_id = counted.id AND score IS NOT NULL
        ORDER BY CASE counted.direction WHEN 'minimize' THEN score ELSE -score END, iteration
        LIMIT 1
    ) AS best ON true
    WHERE (counted.project_id, counted.id) IN (SELECT project_id, run_id FROM changed)
        AND run.project_id = counted.project_id AND run.id = counted.id;
    RETURN NULL;
END
$$;

DROP FUNCTION count_stored_samples(), find_score_ranges(uuid);
DROP TABLE optimization_score_ranges;
ALTER TABLE optimization_runs
    DROP COLUMN range_size, DROP COLUMN wrong_samples, DROP COLUMN correct_samples, DROP COLUMN samples_stored,
    DROP COLUMN iterations_stored;
