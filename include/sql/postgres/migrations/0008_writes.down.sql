DROP TRIGGER remove_samples_of_iterations ON optimization_iterations;
DROP TRIGGER remove_rows_of_runs ON optimization_runs;
DROP TRIGGER keep_sample_keys ON optimization_samples;
DROP TRIGGER keep_iteration_keys ON optimization_iterations;
DROP TRIGGER keep_run_keys ON optimization_runs;
DROP FUNCTION optimization_remove_samples_of_iterations(), optimization_remove_rows_of_runs(), optimization_keep_keys();

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

CREATE OR REPLACE FUNCTION count_stored_samples() RETURNS trigger
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

DROP FUNCTION optimization_refuse_orphans(text, uuid);

GRANT CREATE ON SCHEMA public TO optimization_service;
CREATE OR REPLACE FUNCTION optimization_remove_deleted(portion integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    gone    optimization_deleted_runs;
    removed bigint;
BEGIN
    SELECT * INTO gone FROM optimization_deleted_runs ORDER BY deleted_at LIMIT 1 FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN 0;
    END IF;
    DELETE FROM optimization_samples WHERE id IN (
        SELECT id FROM optimization_samples WHERE project_id = gone.project_id AND run_id = gone.run_id LIMIT portion
    );
    GET DIAGNOSTICS removed = ROW_COUNT;
    IF removed = 0 THEN
        DELETE FROM optimization_iterations WHERE id IN (
            SELECT id FROM optimization_iterations
            WHERE project_id = gone.project_id AND run_id = gone.run_id LIMIT portion
        );
        GET DIAGNOSTICS removed = ROW_COUNT;
    END IF;
    IF removed = 0 THEN
        DELETE FROM optimization_runs WHERE project_id = gone.project_id AND id = gone.run_id;
        DELETE FROM optimization_deleted_runs WHERE project_id = gone.project_id AND run_id = gone.run_id;
        removed := 1;
    END IF;
    RETURN removed;
END
$$;
REVOKE CREATE ON SCHEMA public FROM optimization_service;

ALTER TABLE optimization_iterations
    DROP CONSTRAINT idx_optimization_iterations_run_id,
    ADD PRIMARY KEY (id),
    ADD FOREIGN KEY (project_id, run_id) REFERENCES optimization_runs (project_id, id) ON DELETE CASCADE;
CREATE UNIQUE INDEX idx_optimization_iterations_run_id ON optimization_iterations (run_id, iteration);
ALTER TABLE optimization_samples
    DROP CONSTRAINT idx_optimization_samples_run_id,
    ADD PRIMARY KEY (id),
    ADD FOREIGN KEY (iteration_id) REFERENCES optimization_iterations (id) ON DELETE CASCADE,
    ADD FOREIGN KEY (project_id, run_id) REFERENCES optimization_runs (project_id, id) ON DELETE CASCADE;
CREATE UNIQUE INDEX idx_optimization_samples_run_id ON optimization_samples (run_id, iteration, sample_index);
CREATE INDEX idx_optimization_samples_iteration_id ON optimization_samples (iteration_id);
