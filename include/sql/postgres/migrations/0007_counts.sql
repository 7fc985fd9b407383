-- How many iterations and samples a run has, and the extremes of a long history: kept with each write, so that no page and
-- no chart counts or reads a million rows.
--
-- A run of more than 4,000 iterations has ranges of iterations, each with its lowest and its highest score, of equal ones
-- the earliest. Each is as long as 1,024 iterations were when the run had 4,000, whatever the steps between their numbers.

ALTER TABLE optimization_runs
    ADD COLUMN iterations_stored bigint NOT NULL DEFAULT 0,
    ADD COLUMN samples_stored    bigint NOT NULL DEFAULT 0,
    ADD COLUMN correct_samples   bigint NOT NULL DEFAULT 0,
    ADD COLUMN wrong_samples     bigint NOT NULL DEFAULT 0,
    ADD COLUMN range_size        integer; -- NULL: the run has no ranges

CREATE TABLE optimization_score_ranges (
    project_id     text               NOT NULL,
    run_id         uuid               NOT NULL,
    number         integer            NOT NULL, -- iteration / range_size
    scores         bigint             NOT NULL,
    low_score      optimization_score NOT NULL,
    low_iteration  integer            NOT NULL,
    high_score     optimization_score NOT NULL,
    high_iteration integer            NOT NULL,
    PRIMARY KEY (run_id, number),
    FOREIGN KEY (project_id, run_id) REFERENCES optimization_runs (project_id, id) ON DELETE CASCADE
) WITH (fillfactor = 50); -- the last range is updated with each iteration
ALTER TABLE optimization_score_ranges ENABLE ROW LEVEL SECURITY;
ALTER TABLE optimization_score_ranges FORCE ROW LEVEL SECURITY;
CREATE POLICY "Service role has full access" ON optimization_score_ranges TO optimization_service
    USING (current_user = 'optimization_service') WITH CHECK (current_user = 'optimization_service');
CREATE POLICY "Callers manage their own projects" ON optimization_score_ranges TO optimization_app
    USING (project_id = ANY ((SELECT optimization_current_projects())::text[]))
    WITH CHECK (project_id = ANY ((SELECT optimization_current_projects())::text[]));
GRANT SELECT, INSERT, UPDATE, DELETE ON optimization_score_ranges TO optimization_app, optimization_service;

CREATE FUNCTION find_score_ranges(of_run uuid) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    size integer;
BEGIN
    SELECT least(greatest((max(iteration)::bigint - min(iteration)) * 1024 / count(*), 1024), 2147483647) INTO size
        FROM optimization_iterations WHERE run_id = of_run;
    UPDATE optimization_runs SET range_size = size WHERE id = of_run;
    INSERT INTO optimization_score_ranges
    SELECT
        project_id,
        run_id,
        iteration / size,
        count(*),
        min(score),
        (array_agg(iteration ORDER BY score, iteration))[1],
        max(score),
        (array_agg(iteration ORDER BY score DESC, iteration))[1]
    FROM optimization_iterations
    WHERE run_id = of_run AND score IS NOT NULL
    GROUP BY 1, 2, 3;
END
$$;

CREATE OR REPLACE FUNCTION update_run_statistics_from_iterations() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    longest bigint;
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
    ),
    updated AS (
        UPDATE optimization_runs AS run
        SET
            iterations           = run.iterations + compared.iterations,
            iterations_stored    = run.iterations_stored + compared.iterations,
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
        WHERE run.project_id = compared.project_id AND run.id = compared.run_id
        RETURNING run.iterations_stored
    )
    SELECT max(iterations_stored) INTO longest FROM updated;
    IF longest > 4000 THEN
        INSERT INTO optimization_score_ranges AS known (
            project_id, run_id, number, scores, low_score, low_iteration, high_score, high_iteration
        )
        SELECT
            run.project_id,
            run.id,
            added.iteration / run.range_size,
            count(*),
            min(added.score),
            (array_agg(added.iteration ORDER BY added.score, added.iteration))[1],
            max(added.score),
            (array_agg(added.iteration ORDER BY added.score DESC, added.iteration))[1]
        FROM added
        JOIN optimization_runs AS run ON run.project_id = added.project_id AND run.id = added.run_id
        WHERE run.range_size IS NOT NULL AND added.score IS NOT NULL
        GROUP BY 1, 2, 3
        ON CONFLICT (run_id, number) DO UPDATE SET
            scores         = known.scores + excluded.scores,
            low_score      = least(known.low_score, excluded.low_score),
            low_iteration  = CASE
                WHEN (excluded.low_score, excluded.low_iteration) < (known.low_score, known.low_iteration)
                THEN excluded.low_iteration ELSE known.low_iteration END,
            high_score     = greatest(known.high_score, excluded.high_score),
            high_iteration = CASE
                WHEN (excluded.high_score, -excluded.high_iteration) > (known.high_score, -known.high_iteration)
                THEN excluded.high_iteration ELSE known.high_iteration END;
        PERFORM find_score_ranges(run.id) FROM optimization_runs AS run
            WHERE (run.project_id, run.id) IN (SELECT project_id, run_id FROM added)
                AND run.range_size IS NULL AND run.iterations_stored > 4000;
    END IF;
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
        iterations_stored    = sums.iterations,
        range_size           = NULL,
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
        AND run.project_id = counted.project_id AND run.id = counted.id
        AND NOT EXISTS (
            SELECT FROM optimization_deleted_runs AS gone
            WHERE gone.project_id = counted.project_id AND gone.run_id = counted.id
        );
    DELETE FROM optimization_score_ranges
        WHERE (project_id, run_id) IN (SELECT project_id, id FROM optimization_runs WHERE range_size IS NULL)
            AND (project_id, run_id) IN (SELECT project_id, run_id FROM changed);
    PERFORM find_score_ranges(run.id) FROM optimization_runs AS run
        WHERE (run.project_id, run.id) IN (SELECT project_id, run_id FROM changed)
            AND run.range_size IS NULL AND run.iterations_stored > 4000;
    RETURN NULL;
END
$$;

CREATE FUNCTION count_stored_samples() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    sign integer := CASE TG_OP WHEN 'DELETE' THEN -1 ELSE 1 END;
BEGIN
    PERFORM FROM optimization_runs
        WHERE (project_id, id) IN (SELECT project_id, run_id FROM changed)
        ORDER BY id FOR NO KEY UPDATE;
    IF TG_OP = 'UPDATE' THEN -- an administrator's: the run is counted anew
        UPDATE optimization_runs AS run
        SET samples_stored = counted.stored, correct_samples = counted.correct, wrong_samples = counted.wrong
        FROM (
            SELECT
                project_id, run_id, count(*) AS stored, count(*) FILTER (WHERE is_correct) AS correct,
                count(*) FILTER (WHERE NOT is_correct) AS wrong
            FROM optimization_samples
            WHERE (project_id, run_id) IN (SELECT project_id, run_id FROM changed)
            GROUP BY project_id, run_id
        ) AS counted
        WHERE run.project_id = counted.project_id AND run.id = counted.run_id;
        RETURN NULL;
    END IF;
    UPDATE optimization_runs AS run
    SET
        samples_stored  = run.samples_stored + sign * counted.stored,
        correct_samples = run.correct_samples + sign * counted.correct,
        wrong_samples   = run.wrong_samples + sign * counted.wrong
    FROM (
        SELECT
            project_id, run_id, count(*) AS stored, count(*) FILTER (WHERE is_correct) AS correct,
            count(*) FILTER (WHERE NOT is_correct) AS wrong
        FROM changed
        GROUP BY project_id, run_id
    ) AS counted
    WHERE run.project_id = counted.project_id AND run.id = counted.run_id;
    RETURN NULL;
END
$$;

CREATE TRIGGER count_stored_samples
    AFTER INSERT ON optimization_samples
    REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION count_stored_samples();
CREATE TRIGGER count_stored_samples_after_update
    AFTER UPDATE ON optimization_samples
    REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION count_stored_samples();
CREATE TRIGGER count_stored_samples_after_delete
    AFTER DELETE ON optimization_samples
    REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION count_stored_samples();

ALTER TABLE optimization_runs DISABLE TRIGGER update_optimization_runs_updated_at;
SET LOCAL ROLE optimization_service;
UPDATE optimization_runs AS run
SET
    iterations_stored = (SELECT count(*) FROM optimization_iterations WHERE run_id = run.id),
    samples_stored    = (SELECT count(*) FROM optimization_samples WHERE run_id = run.id),
    correct_samples   = (SELECT count(*) FROM optimization_samples WHERE run_id = run.id AND is_correct),
    wrong_samples     = (SELECT count(*) FROM optimization_samples WHERE run_id = run.id AND NOT is_correct);
SELECT find_score_ranges(id) FROM optimization_runs WHERE iterations_stored > 4000;
RESET ROLE;
ALTER TABLE optimization_runs ENABLE TRIGGER update_optimization_runs_updated_at;
