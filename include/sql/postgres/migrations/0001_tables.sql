-- Projects, runs, iterations and samples.
--
-- Every table names its project, so that one comparison decides who may see a row, and so that each can be partitioned
-- by project. Scores are finite and of any size up to 1e100: NaN and infinity would break sums and JSON.

CREATE DOMAIN optimization_score AS double precision CHECK (VALUE BETWEEN -1e100 AND 1e100);
CREATE DOMAIN optimization_amount AS double precision CHECK (VALUE BETWEEN 0 AND 1e100);

CREATE TABLE project_config (
    id         text        PRIMARY KEY CHECK (id ~ '^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$'),
    name       text        NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE optimization_runs (
    id                   uuid                NOT NULL DEFAULT gen_random_uuid() PRIMARY KEY,
    project_id           text                NOT NULL REFERENCES project_config (id) ON DELETE CASCADE,
    run_name             text                NOT NULL,
    optimizer_type       text                NOT NULL,
    status               text                NOT NULL DEFAULT 'pending',
    direction            text                NOT NULL DEFAULT 'maximize',
    config               jsonb               NOT NULL DEFAULT '{}',
    start_time           timestamptz,
    end_time             timestamptz,
    duration_ms          bigint              GENERATED ALWAYS AS
        (round(extract(epoch FROM end_time - start_time) * 1000)::bigint) STORED,
    initial_score        optimization_score,
    final_score          optimization_score,
    best_score           optimization_score,
    improvement          double precision    GENERATED ALWAYS AS
        (CASE direction WHEN 'minimize' THEN initial_score - final_score ELSE final_score - initial_score END) STORED,
    -- Of an initial score of 0 there is no percentage; what is smaller than 1e-100 counts as 0.
    improvement_pct      double precision    GENERATED ALWAYS AS
        (CASE WHEN abs(initial_score) >= 1e-100 THEN
            CASE direction WHEN 'minimize' THEN initial_score - final_score ELSE final_score - initial_score END
            / abs(initial_score) * 100
        END) STORED,
    iterations           integer             NOT NULL DEFAULT 0,
    samples_evaluated    bigint              NOT NULL DEFAULT 0,
    successful_samples   bigint              NOT NULL DEFAULT 0,
    failed_samples       bigint              NOT NULL DEFAULT 0,
    total_tokens         bigint              NOT NULL DEFAULT 0,
    total_cost_usd       optimization_amount NOT NULL DEFAULT 0,
    avg_latency_ms       optimization_amount,
    best_program         jsonb,
    final_program        jsonb,
    evaluation_results   jsonb,
    error_message        text,
    error_stack          text,
    metadata             jsonb               NOT NULL DEFAULT '{}',
    tags                 text[]              NOT NULL DEFAULT '{}',
    created_at           timestamptz         NOT NULL DEFAULT now(),
    updated_at           timestamptz         NOT NULL DEFAULT now(),
    -- Kept by the triggers: which iteration is the best, and what the mean latency is made of.
    best_iteration       integer,
    best_iteration_score optimization_score,
    timed_iterations     integer             NOT NULL DEFAULT 0,
    timed_ms             bigint              NOT NULL DEFAULT 0,
    CONSTRAINT optimization_runs_project_key UNIQUE (project_id, id),
    CONSTRAINT optimization_runs_run_name CHECK (length(run_name) BETWEEN 1 AND 255),
    CONSTRAINT optimization_runs_status CHECK (status IN ('pending', 'running', 'completed', 'failed', 'cancelled')),
    CONSTRAINT optimization_runs_direction CHECK (direction IN ('maximize', 'minimize')),
    CONSTRAINT optimization_runs_end_time CHECK (end_time >= start_time),
    CONSTRAINT optimization_runs_totals CHECK
        (iterations >= 0 AND samples_evaluated >= 0 AND successful_samples >= 0 AND failed_samples >= 0 AND total_tokens >= 0)
) WITH (fillfactor = 80); -- a run is updated with each of its iterations; the free space keeps that in its page

CREATE TABLE optimization_iterations (
    id                   uuid                NOT NULL DEFAULT gen_random_uuid() PRIMARY KEY,
    project_id           text                NOT NULL,
    run_id               uuid                NOT NULL,
    iteration            integer             NOT NULL CHECK (iteration >= 0),
    score                optimization_score,
    params               jsonb               NOT NULL DEFAULT '{}',
    program              jsonb,
    samples_in_iteration bigint,
    successful_samples   bigint,
    avg_score            optimization_score,
    std_dev              optimization_amount,
    iteration_start_time timestamptz,
    iteration_end_time   timestamptz,
    duration_ms          bigint,
    tokens_used          bigint,
    cost_usd             optimization_amount,
    metadata             jsonb               NOT NULL DEFAULT '{}',
    created_at           timestamptz         NOT NULL DEFAULT now(),
    FOREIGN KEY (project_id, run_id) REFERENCES optimization_runs (project_id, id) ON DELETE CASCADE,
    CONSTRAINT optimization_iterations_end_time CHECK (iteration_end_time >= iteration_start_time)
);

CREATE TABLE optimization_samples (
    id               uuid                NOT NULL DEFAULT gen_random_uuid() PRIMARY KEY,
    project_id       text                NOT NULL,
    run_id           uuid                NOT NULL,
    iteration_id     uuid                NOT NULL REFERENCES optimization_iterations (id) ON DELETE CASCADE,
    iteration        integer             NOT NULL CHECK (iteration >= 0),
    sample_index     integer             NOT NULL CHECK (sample_index >= 0),
    input            jsonb,
    predicted_output jsonb,
    expected_output  jsonb,
    score            optimization_score,
    is_correct       boolean,
    program_hash     text,
    latency_ms       optimization_amount,
    tokens_used      bigint,
    cost_usd         optimization_amount,
    error_message    text,
    metadata         jsonb               NOT NULL DEFAULT '{}',
    created_at       timestamptz         NOT NULL DEFAULT now(),
    FOREIGN KEY (project_id, run_id) REFERENCES optimization_runs (project_id, id) ON DELETE CASCADE
);
