-- Writes that cost less. A thousand rows are checked against their run, and added to what it knows, by a few statements in
-- all; a foreign key asks once a row, and each index of a row costs as much as the row.
--
-- What the foreign keys held, the triggers hold: the run of an added row exists and stays locked until the transaction ends,
-- and so do its iterations; rows go with their run or iteration; the keys of what has rows do not change. Each trigger
-- locks the run first, so a deletion and an insertion wait for each other, and the later one sees what the first one did.
--
-- Rows are known by their run and their numbers: id is still unique, as it is random, but no key.

ALTER TABLE optimization_samples
    DROP CONSTRAINT optimization_samples_iteration_id_fkey,
    DROP CONSTRAINT optimization_samples_project_id_run_id_fkey,
    DROP CONSTRAINT optimization_samples_pkey,
    ADD CONSTRAINT idx_optimization_samples_run_id PRIMARY KEY USING INDEX idx_optimization_samples_run_id;
ALTER TABLE optimization_iterations
    DROP CONSTRAINT optimization_iterations_project_id_run_id_fkey,
    DROP CONSTRAINT optimization_iterations_pkey,
    ADD CONSTRAINT idx_optimization_iterations_run_id PRIMARY KEY USING INDEX idx_optimization_iterations_run_id;
DROP INDEX idx_optimization_samples_iteration_id;

CREATE FUNCTION optimization_refuse_orphans(of_table text, of_run uuid) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    RAISE foreign_key_violation USING
        MESSAGE = format('a row of %s has no run or iteration that its writer may see', of_table),
        DETAIL = format('run %s', of_run),
        TABLE = of_table,
        CONSTRAINT = of_table || '_run';
END
$$;

-- The update locks the run, in the order of the ids where a statement has several. Of a score and its iteration, an array
-- is the pair that PostgreSQL can compare: the best is the last one by score and, of equal ones, the earliest.
CREATE OR REPLACE FUNCTION update_run_statistics_from_iterations() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    sums   record;
    stored bigint;
    size   integer;
BEGIN
    FOR sums IN
        SELECT
            project_id,
            run_id,
            count(*)                                                        AS iterations,
            coalesce(sum(samples_in_iteration), 0)                          AS samples,
            coalesce(sum(successful_samples), 0)                            AS successes,
            coalesce(sum(tokens_used), 0)                                   AS tokens,
            coalesce(sum(cost_usd), 0)                                      AS cost_usd,
            count(duration_ms)                                              AS timed,
            coalesce(sum(duration_ms), 0)                                   AS timed_ms,
            min(ARRAY[score, iteration])  FILTER (WHERE score IS NOT NULL)  AS lowest,
            max(ARRAY[score, -iteration]) FILTER (WHERE score IS NOT NULL)  AS highest
        FROM added
        GROUP BY project_id, run_id
        ORDER BY run_id
    LOOP
        UPDATE optimization_runs AS run
        SET
            iterations         = run.iterations + sums.iterations,
            iterations_stored  = run.iterations_stored + sums.iterations,
            samples_evaluated  = run.samples_evaluated + sums.samples,
            successful_samples = run.successful_samples + sums.successes,
            failed_samples     = run.failed_samples + sums.samples - sums.successes,
            total_tokens       = run.total_tokens + sums.tokens,
            total_cost_usd     = run.total_cost_usd + sums.cost_usd,
            timed_iterations   = run.timed_iterations + sums.timed,
            timed_ms           = run.timed_ms + sums.timed_ms,
            avg_latency_ms     = CASE WHEN sums.timed > 0
                THEN (run.timed_ms + sums.timed_ms)::double precision / (run.timed_iterations + sums.timed)
                ELSE run.avg_latency_ms END,
            (best_iteration, best_iteration_score, best_score) = (
                SELECT
                    CASE WHEN is_better THEN abs(best[2])::integer ELSE run.best_iteration END,
                    CASE WHEN is_better THEN best[1] ELSE run.best_iteration_score END,
                    CASE WHEN is_better THEN best[1] ELSE run.best_score END
                FROM (
                    SELECT
                        CASE run.direction WHEN 'minimize' THEN sums.lowest ELSE sums.highest END AS best,
                        sums.lowest IS NOT NULL AND (
                            run.best_iteration IS NULL
                            OR CASE run.direction
                                WHEN 'minimize' THEN sums.lowest < ARRAY[run.best_iteration_score, run.best_iteration]
                                ELSE sums.highest > ARRAY[run.best_iteration_score, -run.best_iteration] END
                        ) AS is_better
                ) AS compared
            )
        WHERE run.project_id = sums.project_id AND run.id = sums.run_id
        RETURNING run.iterations_stored, run.range_size INTO stored, size;
        IF NOT FOUND THEN
            PERFORM optimization_refuse_orphans(TG_TABLE_NAME, sums.run_id);
        END IF;
        IF stored > 4000 AND size IS NULL THEN
            PERFORM find_score_ranges(sums.run_id);
        ELSIF stored > 4000 THEN
            INSERT INTO optimization_score_ranges AS known (
                project_id, run_id, number, scores, low_score, low_iteration, high_score, high_iteration
            )
            SELECT sums.project_id, sums.run_id, number, scores, lowest[1], lowest[2], highest[1], -highest[2]
            FROM (
                SELECT
                    iteration / size               AS number,
                    count(*)                       AS scores,
                    min(ARRAY[score, iteration])   AS lowest,
                    max(ARRAY[score, -iteration])  AS highest
                FROM added
                WHERE run_id = sums.run_id AND score IS NOT NULL
                GROUP BY iteration / size
            ) AS ranged
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
        END IF;
    END LOOP;
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION count_stored_samples() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    sign    integer := CASE TG_OP WHEN 'DELETE' THEN -1 ELSE 1 END;
    counted record;
BEGIN
    FOR counted IN
        SELECT
            project_id, run_id, count(*) AS stored, count(*) FILTER (WHERE is_correct) AS correct,
            count(*) FILTER (WHERE NOT is_correct) AS wrong
        FROM changed
        GROUP BY project_id, run_id
        ORDER BY run_id
    LOOP
        UPDATE optimization_runs AS run
        SET
            samples_stored  = run.samples_stored + sign * counted.stored,
            correct_samples = run.correct_samples + sign * counted.correct,
            wrong_samples   = run.wrong_samples + sign * counted.wrong
        WHERE run.project_id = counted.project_id AND run.id = counted.run_id;
        IF NOT FOUND AND TG_OP <> 'DELETE' THEN
            PERFORM optimization_refuse_orphans(TG_TABLE_NAME, counted.run_id);
        ELSIF TG_OP = 'UPDATE' THEN -- an administrator's: the run is counted anew
            UPDATE optimization_runs AS run
            SET
                (samples_stored, correct_samples, wrong_samples) = (
                    SELECT count(*), count(*) FILTER (WHERE is_correct), count(*) FILTER (WHERE NOT is_correct)
                    FROM optimization_samples AS own
                    WHERE own.run_id = run.id
                )
            WHERE run.project_id = counted.project_id AND run.id = counted.run_id;
        END IF;
    END LOOP;
    IF TG_OP = 'INSERT' AND EXISTS (
        SELECT FROM (SELECT DISTINCT project_id, run_id, iteration, iteration_id FROM changed) AS named
        WHERE NOT EXISTS (
            SELECT FROM optimization_iterations AS it
            WHERE it.run_id = named.run_id AND it.iteration = named.iteration AND it.id = named.iteration_id
                AND it.project_id = named.project_id
        )
    ) THEN
        PERFORM optimization_refuse_orphans(TG_TABLE_NAME, counted.run_id);
    END IF;
    RETURN NULL;
END
$$;

CREATE FUNCTION optimization_keep_keys() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    RAISE foreign_key_violation USING
        MESSAGE = format('a row of %s keeps its id, its project and its place', TG_TABLE_NAME), TABLE = TG_TABLE_NAME;
END
$$;
CREATE TRIGGER keep_run_keys AFTER UPDATE OF id, project_id ON optimization_runs
    FOR EACH ROW WHEN ((OLD.id, OLD.project_id) IS DISTINCT FROM (NEW.id, NEW.project_id))
    EXECUTE FUNCTION optimization_keep_keys();
CREATE TRIGGER keep_iteration_keys AFTER UPDATE OF id, project_id, run_id, iteration ON optimization_iterations
    FOR EACH ROW WHEN (
        (OLD.id, OLD.project_id, OLD.run_id, OLD.iteration) IS DISTINCT FROM (NEW.id, NEW.project_id, NEW.run_id, NEW.iteration)
    )
    EXECUTE FUNCTION optimization_keep_keys();
CREATE TRIGGER keep_sample_keys AFTER UPDATE OF project_id, run_id, iteration, iteration_id ON optimization_samples
    FOR EACH ROW WHEN (
        (OLD.project_id, OLD.run_id, OLD.iteration, OLD.iteration_id)
        IS DISTINCT FROM (NEW.project_id, NEW.run_id, NEW.iteration, NEW.iteration_id)
    )
    EXECUTE FUNCTION optimization_keep_keys();

-- As foreign keys, they remove rows that the role which deletes their run may not delete itself.
GRANT CREATE ON SCHEMA public TO optimization_service; -- to own what follows; taken back at the end
CREATE FUNCTION optimization_remove_rows_of_runs() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    run record;
BEGIN
    FOR run IN SELECT id FROM gone LOOP
        DELETE FROM optimization_samples WHERE run_id = run.id;
        DELETE FROM optimization_iterations WHERE run_id = run.id;
    END LOOP;
    RETURN NULL;
END
$$;
ALTER FUNCTION optimization_remove_rows_of_runs() OWNER TO optimization_service;
CREATE FUNCTION optimization_remove_samples_of_iterations() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    run record;
BEGIN
    FOR run IN SELECT DISTINCT run_id AS id FROM gone LOOP
        IF EXISTS (SELECT FROM optimization_samples WHERE run_id = run.id) THEN
            DELETE FROM optimization_samples
                WHERE run_id = run.id AND iteration IN (SELECT iteration FROM gone WHERE run_id = run.id);
        END IF;
    END LOOP;
    RETURN NULL;
END
$$;
ALTER FUNCTION optimization_remove_samples_of_iterations() OWNER TO optimization_service;

-- Rows of a portion are found by their place: they are never updated.
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
    DELETE FROM optimization_samples WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM optimization_samples WHERE project_id = gone.project_id AND run_id = gone.run_id LIMIT portion
    ));
    GET DIAGNOSTICS removed = ROW_COUNT;
    IF removed = 0 THEN
        DELETE FROM optimization_iterations WHERE ctid = ANY (ARRAY(
            SELECT ctid FROM optimization_iterations
            WHERE project_id = gone.project_id AND run_id = gone.run_id LIMIT portion
        ));
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

CREATE TRIGGER remove_rows_of_runs AFTER DELETE ON optimization_runs
    REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION optimization_remove_rows_of_runs();
-- After mark_best_iteration_after_delete, by its name: that locks the runs.
CREATE TRIGGER remove_samples_of_iterations AFTER DELETE ON optimization_iterations
    REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION optimization_remove_samples_of_iterations();
