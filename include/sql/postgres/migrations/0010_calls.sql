-- A write in one call: one message to the server, which is a transaction of its own where none was begun.

CREATE FUNCTION optimization_act_for(projects text[], actor text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM
        set_config('role', 'optimization_app', true),
        set_config('app.projects', projects::text, true),
        set_config('app.actor', actor, true);
END
$$;

-- Adds iterations to a run for a caller. Each column has the iterations' values in their order, or is NULL; those of JSON are
-- an array, of which null is no value. With `rows_wanted` the iterations come back, and the number of the run's best one.
CREATE FUNCTION optimization_add_iterations(
    projects text[], actor text, of_run uuid, rows_wanted boolean, numbers integer[], scores double precision[],
    all_params jsonb, programs jsonb, samples bigint[], successes bigint[], avg_scores double precision[], std_devs double precision[],
    start_times timestamptz[], end_times timestamptz[], durations_ms bigint[], tokens bigint[], costs_usd double precision[],
    all_metadata jsonb
)
RETURNS TABLE (added optimization_iterations, best_iteration integer)
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM optimization_act_for(projects, actor);
    INSERT INTO optimization_iterations (
        id, project_id, run_id, iteration, score, params, program, samples_in_iteration, successful_samples, avg_score,
        std_dev, iteration_start_time, iteration_end_time, duration_ms, tokens_used, cost_usd, metadata
    )
    SELECT
        -- Random in all but the last eight digits, which count: 268435456 is 16^7. A thousand random ids would cost as much as
        -- the rows' JSON; a sub-select is evaluated once.
        ((SELECT left(gen_random_uuid()::text, 28)) || to_hex(268435456 + given.ordinality))::uuid,
        run.project_id, run.id, given.iteration, given.score, coalesce(NULLIF(given.params, 'null'), '{}'),
        NULLIF(given.program, 'null'), given.samples, given.successes, given.avg_score, given.std_dev, given.start_time,
        given.end_time,
        coalesce(
            given.duration_ms,
            CASE WHEN given.end_time >= given.start_time -- else its clock was set back
                THEN round(extract(epoch FROM given.end_time - given.start_time) * 1000)::bigint END
        ),
        given.tokens, given.cost_usd, coalesce(NULLIF(given.metadata, 'null'), '{}')
    FROM optimization_runs AS run
    CROSS JOIN ROWS FROM (
        unnest(numbers), unnest(scores), jsonb_array_elements(all_params),
        jsonb_array_elements(programs), unnest(samples), unnest(successes), unnest(avg_scores), unnest(std_devs),
        unnest(start_times), unnest(end_times), unnest(durations_ms), unnest(tokens), unnest(costs_usd),
        jsonb_array_elements(all_metadata)
    ) WITH ORDINALITY AS given (
        iteration, score, params, program, samples, successes, avg_score, std_dev, start_time, end_time, duration_ms, tokens,
        cost_usd, metadata, ordinality
    )
    WHERE run.id = of_run;
    IF NOT FOUND THEN
        PERFORM optimization_refuse_orphans('optimization_iterations', of_run);
    END IF;
    IF rows_wanted THEN
        RETURN QUERY
            SELECT it, run.best_iteration
            FROM optimization_runs AS run
            JOIN optimization_iterations AS it ON it.run_id = run.id
            WHERE run.id = of_run AND it.iteration = ANY (numbers);
    END IF;
END
$$;

-- Adds samples to iterations of a run, as optimization_add_iterations does: all of them, or none where one's iteration, or
-- its id where it is given, is not the run's.
CREATE FUNCTION optimization_add_samples(
    projects text[], actor text, of_run uuid, rows_wanted boolean, numbers integer[], iteration_ids uuid[], indexes integer[],
    inputs jsonb, predicted_outputs jsonb, expected_outputs jsonb, scores double precision[], are_correct boolean[],
    program_hashes jsonb, latencies_ms double precision[], tokens bigint[], costs_usd double precision[], error_messages jsonb,
    all_metadata jsonb
)
RETURNS SETOF optimization_samples
LANGUAGE plpgsql AS $$
DECLARE
    written bigint;
BEGIN
    PERFORM optimization_act_for(projects, actor);
    -- Each iteration is looked up once, not once a sample.
    WITH it AS MATERIALIZED (
        SELECT own.project_id, own.run_id, own.id, own.iteration
        FROM optimization_iterations AS own
        WHERE own.run_id = of_run AND own.iteration = ANY (ARRAY(SELECT DISTINCT number FROM unnest(numbers) AS number))
    )
    INSERT INTO optimization_samples (
        id, project_id, run_id, iteration_id, iteration, sample_index, input, predicted_output, expected_output, score,
        is_correct, program_hash, latency_ms, tokens_used, cost_usd, error_message, metadata
    )
    SELECT
        ((SELECT left(gen_random_uuid()::text, 28)) || to_hex(268435456 + given.ordinality))::uuid, -- as of an iteration
        it.project_id, it.run_id, it.id, it.iteration, given.sample_index, NULLIF(given.input, 'null'),
        NULLIF(given.predicted_output, 'null'), NULLIF(given.expected_output, 'null'), given.score, given.is_correct,
        given.program_hash, given.latency_ms, given.tokens, given.cost_usd, given.error_message,
        coalesce(NULLIF(given.metadata, 'null'), '{}')
    FROM ROWS FROM (
        unnest(numbers), unnest(iteration_ids), unnest(indexes), jsonb_array_elements(inputs),
        jsonb_array_elements(predicted_outputs), jsonb_array_elements(expected_outputs), unnest(scores), unnest(are_correct),
        jsonb_array_elements_text(program_hashes), unnest(latencies_ms), unnest(tokens), unnest(costs_usd),
        jsonb_array_elements_text(error_messages), jsonb_array_elements(all_metadata)
    ) WITH ORDINALITY AS given (
        iteration, iteration_id, sample_index, input, predicted_output, expected_output, score, is_correct, program_hash,
        latency_ms, tokens, cost_usd, error_message, metadata, ordinality
    )
    JOIN it ON it.iteration = given.iteration AND it.id = coalesce(given.iteration_id, it.id);
    GET DIAGNOSTICS written = ROW_COUNT;
    IF written < cardinality(numbers) THEN
        PERFORM optimization_refuse_orphans('optimization_samples', of_run);
    END IF;
    IF rows_wanted THEN
        RETURN QUERY
            SELECT * FROM optimization_samples AS own
            WHERE own.run_id = of_run
                AND (own.iteration, own.sample_index) IN (SELECT * FROM unnest(numbers, indexes));
    END IF;
END
$$;

-- Creates a run from its columns, and returns it as it stands afterwards; nothing where its creation_key has made a run
-- already, also where another transaction is just doing that. Columns that are left out and have a default take it. An end
-- before the start is of a clock that was set back: it is kept as stated, and this server's clock ends the run.
CREATE FUNCTION optimization_create_run(actor text, run jsonb, max_bytes bigint) RETURNS SETOF optimization_runs
LANGUAGE plpgsql AS $$
DECLARE
    given optimization_runs := jsonb_populate_record(NULL::optimization_runs, run);
    made  optimization_runs;
BEGIN
    PERFORM optimization_act_for(ARRAY[given.project_id], actor);
    INSERT INTO optimization_runs (
        project_id, run_name, optimizer_type, status, direction, config, start_time, end_time, initial_score, final_score,
        best_score, iterations, samples_evaluated, successful_samples, failed_samples, total_tokens, total_cost_usd,
        avg_latency_ms, best_program, final_program, evaluation_results, error_message, error_stack, metadata, tags,
        stated_end_time, metric, creation_key, creation_sha256
    ) VALUES (
        given.project_id, given.run_name, given.optimizer_type, given.status, given.direction, given.config,
        coalesce(given.start_time, CASE given.status WHEN 'running' THEN now() END),
        CASE WHEN given.end_time < given.start_time THEN greatest(now(), given.start_time) ELSE given.end_time END,
        given.initial_score, given.final_score, given.best_score, coalesce(given.iterations, 0),
        coalesce(given.samples_evaluated, 0), coalesce(given.successful_samples, 0), coalesce(given.failed_samples, 0),
        coalesce(given.total_tokens, 0), coalesce(given.total_cost_usd, 0), given.avg_latency_ms, given.best_program,
        given.final_program, given.evaluation_results, given.error_message, given.error_stack, given.metadata, given.tags,
        CASE WHEN given.end_time < given.start_time THEN given.end_time END,
        given.metric, given.creation_key, given.creation_sha256
    )
    ON CONFLICT (project_id, creation_key) WHERE creation_key IS NOT NULL DO NOTHING
    RETURNING * INTO made;
    IF NOT FOUND THEN
        RETURN;
    ELSIF made.bytes > max_bytes THEN
        RAISE check_violation USING
            MESSAGE = format('the JSON and texts of the run have %s bytes', made.bytes),
            CONSTRAINT = 'optimization_runs_bytes';
    END IF;
    RETURN NEXT made;
END
$$;

-- search_name is computed anew with each change of a run, also by its iterations. As SQL, the function was parsed and planned
-- into the column's formula each time.
DO $$
DECLARE
    body text := (SELECT prosrc FROM pg_proc WHERE oid = 'optimization_fold(text)'::regprocedure);
BEGIN
    EXECUTE format(
        'CREATE OR REPLACE FUNCTION optimization_fold(given text) RETURNS text '
        'LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT AS %L',
        regexp_replace(body, '^\s*SELECT\s+(.*?)\s*$', 'BEGIN RETURN \1; END')
    );
END
$$;
