-- The optimizer's control plane, for MySQL 8.0.16+ and MariaDB 10.6+.
--
-- Apply it to an empty database:  mysql <database> < schema.sql
-- `optimizer migrate` makes the same tables and brings older ones up to date; after this file it goes on from here.
--
-- Times are UTC. Our own sessions set time_zone = '+00:00'. Statements of others write NOW(), so the server needs
-- default-time-zone = '+00:00' too.
-- status 'A' is active, 'I' inactive. No passwords and no keys are in these tables.
-- Foreign keys restrict: a run that is deployed, or a version that was run, cannot be deleted.


-- ------------------------------------------------------------------------------------------------ what can be optimized

-- The optimizers; one row, rtb_optimizer.
CREATE TABLE opt_master (
    opt_id      INTEGER      NOT NULL AUTO_INCREMENT,
    opt_code    VARCHAR(50)  NOT NULL,                      -- rtb_optimizer
    opt_name    VARCHAR(200) NOT NULL,
    description TEXT         NULL,
    status      CHAR(1)      NOT NULL DEFAULT 'A',
    created_at  DATETIME(6)  NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    PRIMARY KEY (opt_id),
    CONSTRAINT uq_opt_master_opt_code UNIQUE (opt_code),
    CONSTRAINT ck_opt_master_status CHECK (status IN ('A', 'I'))
) ENGINE = InnoDB CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- The releases of an optimizer.
CREATE TABLE opt_versions (
    version_id        INTEGER      NOT NULL AUTO_INCREMENT,
    opt_id            INTEGER      NOT NULL,
    version_code      VARCHAR(50)  NOT NULL,                -- v3
    version_name      VARCHAR(200) NOT NULL,
    release_date      DATE         NULL,
    supported_configs JSON         NULL,                    -- list of the config keys that the version accepts
    description       TEXT         NULL,
    status            CHAR(1)      NOT NULL DEFAULT 'A',
    created_at        DATETIME(6)  NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    PRIMARY KEY (version_id),
    CONSTRAINT uq_opt_versions_opt_id_version_code UNIQUE (opt_id, version_code),
    CONSTRAINT fk_opt_versions_opt_id FOREIGN KEY (opt_id) REFERENCES opt_master (opt_id),
    CONSTRAINT ck_opt_versions_status CHECK (status IN ('A', 'I'))
) ENGINE = InnoDB CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- Type, default, bounds and display of each config key of a version.
CREATE TABLE opt_version_configs (
    config_id      INTEGER       NOT NULL AUTO_INCREMENT,
    version_id     INTEGER       NOT NULL,
    config_key     VARCHAR(100)  NOT NULL,                  -- target_win_rate
    config_section VARCHAR(50)   NOT NULL,                  -- business, technical or static
    display_name   VARCHAR(200)  NOT NULL,                  -- what the trigger form calls it
    description    TEXT          NULL,
    data_type      VARCHAR(20)   NOT NULL,                  -- float, int, bool or str
    default_value  VARCHAR(1000) NULL,                      -- text of the value; NULL is not a default
    min_value      VARCHAR(100)  NULL,                      -- the bounds belong to the range
    max_value      VARCHAR(100)  NULL,                      -- see min_value
    allowed_values JSON          NULL,                      -- list of texts; NULL allows all
    is_required    BOOLEAN       NOT NULL DEFAULT 1,
    is_ui_visible  BOOLEAN       NOT NULL DEFAULT 1,        -- stands on the trigger form
    PRIMARY KEY (config_id),
    CONSTRAINT uq_opt_version_configs_version_id_config_key UNIQUE (version_id, config_key),
    CONSTRAINT fk_opt_version_configs_version_id FOREIGN KEY (version_id) REFERENCES opt_versions (version_id)
) ENGINE = InnoDB CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- The clients: each is optimized on its own, by its own DAG.
CREATE TABLE opt_entities (
    entity_id          INTEGER      NOT NULL AUTO_INCREMENT,
    opt_id             INTEGER      NOT NULL,
    entity_code        VARCHAR(100) NOT NULL,               -- drugs_hcp; letters, digits, '_', '.' and '-'
    entity_name        VARCHAR(200) NOT NULL,               -- what pages call it
    object_id          INTEGER      NOT NULL,               -- the entity's number in the event tables
    object_type        VARCHAR(50)  NOT NULL DEFAULT 'ssp', -- kind of client
    current_version_id INTEGER      NULL,                   -- what its next run uses
    active_run_id      VARCHAR(64)  NULL,                   -- the run with most of the traffic; see opt_deployments
    s3_base_path       VARCHAR(500) NOT NULL,               -- s3://bucket/prefix/; runs go to runs/<run_code>/ below it
    status             CHAR(1)      NOT NULL DEFAULT 'A',
    created_at         DATETIME(6)  NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    control_run_id     VARCHAR(64)  NULL,                   -- the run that the control share of the traffic bids
    PRIMARY KEY (entity_id),
    CONSTRAINT uq_opt_entities_entity_code UNIQUE (entity_code),
    INDEX ix_opt_entities_opt_id (opt_id),
    INDEX ix_opt_entities_current_version_id (current_version_id),
    INDEX ix_opt_entities_entity_id_active_run_id (entity_id, active_run_id),
    INDEX ix_opt_entities_entity_id_control_run_id (entity_id, control_run_id),
    CONSTRAINT fk_opt_entities_opt_id FOREIGN KEY (opt_id) REFERENCES opt_master (opt_id),
    CONSTRAINT fk_opt_entities_current_version_id
        FOREIGN KEY (current_version_id) REFERENCES opt_versions (version_id),
    CONSTRAINT ck_opt_entities_status CHECK (status IN ('A', 'I'))
) ENGINE = InnoDB CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- The entity's own values, where they differ from the version's defaults.
CREATE TABLE opt_entity_configs (
    id           INTEGER       NOT NULL AUTO_INCREMENT,
    entity_id    INTEGER       NOT NULL,
    config_key   VARCHAR(100)  NOT NULL,                    -- a key of the version
    config_value VARCHAR(1000) NOT NULL,                    -- text of the value
    updated_by   VARCHAR(200)  NOT NULL DEFAULT '',         -- who set it
    updated_at   DATETIME(6)   NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6),
    PRIMARY KEY (id),
    CONSTRAINT uq_opt_entity_configs_entity_id_config_key UNIQUE (entity_id, config_key),
    CONSTRAINT fk_opt_entity_configs_entity_id FOREIGN KEY (entity_id) REFERENCES opt_entities (entity_id)
) ENGINE = InnoDB CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- How the bidder finds a feature's value in a bid request. Features without an active row are no candidates.
CREATE TABLE opt_feature_macros (
    macro_id       INTEGER      NOT NULL AUTO_INCREMENT,
    opt_id         INTEGER      NOT NULL,
    feature_name   VARCHAR(100) NOT NULL,                   -- geo_region_name
    macro_template VARCHAR(200) NOT NULL,                   -- [ADX_GEO_STATE]
    macro_format   VARCHAR(20)  NOT NULL DEFAULT 'adx',     -- the bidder's macro dialect
    status         CHAR(1)      NOT NULL DEFAULT 'A',
    PRIMARY KEY (macro_id),
    CONSTRAINT uq_opt_feature_macros_opt_id_feature_name_macro_format UNIQUE (opt_id, feature_name, macro_format),
    CONSTRAINT fk_opt_feature_macros_opt_id FOREIGN KEY (opt_id) REFERENCES opt_master (opt_id),
    CONSTRAINT ck_opt_feature_macros_status CHECK (status IN ('A', 'I'))
) ENGINE = InnoDB CHARSET = utf8mb4 COLLATE = utf8mb4_bin;


-- ----------------------------------------------------------------------------------------------------------------- runs

-- One row a run of an entity: pending -> running -> completed, failed or cancelled.
-- The older words queued (pending) and success (completed) are still read and written by others.
CREATE TABLE opt_runs (
    run_id               VARCHAR(64)    NOT NULL,           -- opaque; 20260203_150000 or 20260203_150000_drugs_hcp
    run_code             VARCHAR(64)    NOT NULL DEFAULT (run_id), -- names the S3 prefix, unique within the entity
    entity_id            INTEGER        NOT NULL,
    version_id           INTEGER        NOT NULL,           -- whose config keys it used
    dag_id               VARCHAR(250)   NULL,               -- NULL until Airflow takes a run that the UI inserted
    dag_run_id           VARCHAR(250)   NULL,               -- ui__<run_id> where the UI inserted the run
    status               VARCHAR(20)    NOT NULL DEFAULT 'pending', -- see above
    triggered_by         VARCHAR(200)   NOT NULL DEFAULT '', -- user, or airflow
    trigger_type         VARCHAR(50)    NOT NULL DEFAULT 'manual', -- manual, cron, asset or backfill
    data_start_dt        DATETIME(6)    NULL,               -- the window is half open: [start, end)
    data_end_dt          DATETIME(6)    NULL,
    config_snapshot      JSON           NULL,               -- the whole merged config, frozen when the run starts
    total_bids           BIGINT         NULL,               -- of the window, as the two below
    total_views          BIGINT         NULL,
    total_clicks         BIGINT         NULL,
    total_segments       BIGINT         NULL,               -- distinct segments observed
    segments_count       BIGINT         NULL,               -- segments with a suggested bid
    segments_in_memcache BIGINT         NULL,               -- segments with evidence enough to be served
    domains_count        BIGINT         NULL,               -- domains with a multiplier row
    npis_count           BIGINT         NULL,               -- NPIs with a multiplier row
    features_used        TEXT           NULL,               -- names with commas, in key order
    bid_median           DECIMAL(12, 4) NULL,               -- CPM, as the two below
    bid_min              DECIMAL(12, 4) NULL,
    bid_max              DECIMAL(12, 4) NULL,
    s3_output_path       VARCHAR(700)   NULL,               -- s3:// prefix of the files
    validation_status    VARCHAR(20)    NULL,               -- only runs that passed can be deployed
    validation_warnings  INTEGER        NULL,               -- how many checks warned; NULL for runs of older versions
    error_message        TEXT           NULL,               -- why it failed or was cancelled
    created_at           DATETIME(6)    NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    started_at           DATETIME(6)    NULL,               -- when snapshot_config set it running
    heartbeat_at         DATETIME(6)    NULL,               -- the last sign of life of a running run
    completed_at         DATETIME(6)    NULL,               -- when it ended, well or not
    is_dry_run           BOOLEAN        NOT NULL DEFAULT 0, -- such a run ends cancelled and can never be deployed
    readiness_figures    JSON           NULL,               -- the metrics that its entity's readiness is made of
    outputs_removed_at   DATETIME(6)    NULL,               -- since when its files are gone: it cannot be deployed any more
    manifest_sha256      CHAR(64)       NULL,               -- of manifest.json; NULL: written by other means, not checked
    held_by              VARCHAR(200)   NULL,               -- the copy of a task that works on it, or did last
    PRIMARY KEY (run_id),
    CONSTRAINT uq_opt_runs_entity_id_run_id UNIQUE (entity_id, run_id), -- what an entity's own runs are referred by
    CONSTRAINT uq_opt_runs_entity_id_run_code UNIQUE (entity_id, run_code),
    CONSTRAINT uq_opt_runs_dag_id_dag_run_id UNIQUE (dag_id, dag_run_id), -- a retried task makes no second run
    INDEX ix_opt_runs_version_id (version_id),
    INDEX ix_opt_runs_status_created_at (status, created_at),
    INDEX ix_opt_runs_entity_id_status_validation_status_created_at
        (entity_id, status, validation_status, created_at),
    INDEX ix_opt_runs_entity_id_created_at (entity_id, created_at), -- its newest runs, whatever their status
    CONSTRAINT fk_opt_runs_entity_id FOREIGN KEY (entity_id) REFERENCES opt_entities (entity_id),
    CONSTRAINT fk_opt_runs_version_id FOREIGN KEY (version_id) REFERENCES opt_versions (version_id),
    CONSTRAINT ck_opt_runs_status CHECK (
        status IN ('pending', 'running', 'completed', 'failed', 'cancelled', 'queued', 'success')
    ),
    CONSTRAINT ck_opt_runs_validation_status CHECK (validation_status IN ('passed', 'failed')),
    CONSTRAINT ck_opt_runs_window CHECK (data_start_dt < data_end_dt)
) ENGINE = InnoDB CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- With the entity in the key, an entity can only point at runs of its own.
ALTER TABLE opt_entities
    ADD CONSTRAINT fk_opt_entities_entity_id_active_run_id
        FOREIGN KEY (entity_id, active_run_id) REFERENCES opt_runs (entity_id, run_id),
    ADD CONSTRAINT fk_opt_entities_entity_id_control_run_id
        FOREIGN KEY (entity_id, control_run_id) REFERENCES opt_runs (entity_id, run_id);

-- What the user set for this run alone.
CREATE TABLE opt_run_configs (
    id             INTEGER       NOT NULL AUTO_INCREMENT,
    run_id         VARCHAR(64)   NOT NULL,
    config_key     VARCHAR(100)  NOT NULL,                  -- a key of the version
    config_value   VARCHAR(1000) NOT NULL,                  -- text of the value
    config_section VARCHAR(50)   NULL,
    PRIMARY KEY (id),
    CONSTRAINT uq_opt_run_configs_run_id_config_key UNIQUE (run_id, config_key),
    CONSTRAINT fk_opt_run_configs_run_id FOREIGN KEY (run_id) REFERENCES opt_runs (run_id)
) ENGINE = InnoDB CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- The features of the run's segment key, in its order.
CREATE TABLE opt_run_features (
    id            INTEGER      NOT NULL AUTO_INCREMENT,
    run_id        VARCHAR(64)  NOT NULL,
    feature_name  VARCHAR(100) NOT NULL,
    feature_order SMALLINT     NOT NULL,                    -- from 1
    is_anchor     BOOLEAN      NOT NULL DEFAULT 0,          -- always part of the key, whatever its score
    signal_score  DOUBLE       NULL,                        -- see docs/optimizer.md, Features
    macro_id      INTEGER      NULL,                        -- how the bidder finds its value
    PRIMARY KEY (id),
    CONSTRAINT uq_opt_run_features_run_id_feature_name UNIQUE (run_id, feature_name),
    CONSTRAINT uq_opt_run_features_run_id_feature_order UNIQUE (run_id, feature_order),
    INDEX ix_opt_run_features_macro_id (macro_id),
    CONSTRAINT fk_opt_run_features_run_id FOREIGN KEY (run_id) REFERENCES opt_runs (run_id),
    CONSTRAINT fk_opt_run_features_macro_id FOREIGN KEY (macro_id) REFERENCES opt_feature_macros (macro_id)
) ENGINE = InnoDB CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- The run's whole key template: one row a run.
CREATE TABLE opt_run_feature_macros (
    id                INTEGER       NOT NULL AUTO_INCREMENT,
    run_id            VARCHAR(64)   NOT NULL,
    macro_combination VARCHAR(1000) NOT NULL,               -- [ADX_GEO_STATE]|[ADX_USER_OS]
    macro_format      VARCHAR(20)   NOT NULL DEFAULT 'adx',
    PRIMARY KEY (id),
    CONSTRAINT uq_opt_run_feature_macros_run_id UNIQUE (run_id),
    CONSTRAINT fk_opt_run_feature_macros_run_id FOREIGN KEY (run_id) REFERENCES opt_runs (run_id)
) ENGINE = InnoDB CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- How good the run's models and bids are.
CREATE TABLE opt_run_metrics (
    id             INTEGER      NOT NULL AUTO_INCREMENT,
    run_id         VARCHAR(64)  NOT NULL,
    metric_key     VARCHAR(100) NOT NULL,                   -- wr_model_auc
    metric_value   DOUBLE       NULL,                       -- NULL where it could not be computed
    metric_section VARCHAR(100) NOT NULL,                   -- win_rate_model
    PRIMARY KEY (id),
    CONSTRAINT uq_opt_run_metrics_run_id_metric_section_metric_key UNIQUE (run_id, metric_section, metric_key),
    CONSTRAINT fk_opt_run_metrics_run_id FOREIGN KEY (run_id) REFERENCES opt_runs (run_id)
) ENGINE = InnoDB CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- The objects that the run wrote to S3.
CREATE TABLE opt_run_outputs (
    id          INTEGER      NOT NULL AUTO_INCREMENT,
    run_id      VARCHAR(64)  NOT NULL,
    output_type VARCHAR(50)  NOT NULL,                      -- memcache
    s3_bucket   VARCHAR(63)  NOT NULL,
    s3_key      VARCHAR(600) NOT NULL,
    row_count   BIGINT       NULL,                          -- NULL for files that are no tables
    byte_count  BIGINT       NULL,
    sha256      CHAR(64)     NULL,                          -- hexadecimal
    PRIMARY KEY (id),
    CONSTRAINT uq_opt_run_outputs_run_id_s3_key UNIQUE (run_id, s3_key),
    CONSTRAINT fk_opt_run_outputs_run_id FOREIGN KEY (run_id) REFERENCES opt_runs (run_id)
) ENGINE = InnoDB CHARSET = utf8mb4 COLLATE = utf8mb4_bin;


-- ---------------------------------------------------------------------------------------------------------- deployments

-- Each run's share of its entity's traffic. The bidder reads the active rows; the others are history.
-- The active shares of an entity sum to 100: a write replaces all of them in one transaction.
CREATE TABLE opt_deployments (
    deployment_id  INTEGER      NOT NULL AUTO_INCREMENT,
    run_id         VARCHAR(64)  NOT NULL,
    entity_id      INTEGER      NOT NULL,
    traffic_pct    SMALLINT     NOT NULL,                   -- whole percent
    is_active      BOOLEAN      NOT NULL DEFAULT 1,         -- 0 is history
    deployed_by    VARCHAR(200) NOT NULL DEFAULT '',        -- user, or airflow:<what decided>
    deployed_at    DATETIME(6)  NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    deactivated_at DATETIME(6)  NULL,                       -- NULL while active
    -- NULL for history, so the unique key below lets a run be active once and past any number of times.
    active_marker  SMALLINT     GENERATED ALWAYS AS (CASE WHEN is_active = 1 THEN 1 END) VIRTUAL,
    source         VARCHAR(20)  NOT NULL DEFAULT 'manual',  -- manual, scheduled, canary, control or rollback
    canary_run_id  VARCHAR(64)  NULL,                       -- the run that the split tries; NULL where it tries none
    is_pinned      BOOLEAN      NOT NULL DEFAULT 0,         -- 1: scheduled runs do not replace the split
    comment        VARCHAR(1000) NOT NULL DEFAULT '',       -- why, in the words of the person who deployed
    PRIMARY KEY (deployment_id),
    CONSTRAINT uq_opt_deployments_entity_id_run_id_active_marker UNIQUE (entity_id, run_id, active_marker),
    INDEX ix_opt_deployments_entity_id_is_active (entity_id, is_active),
    CONSTRAINT fk_opt_deployments_entity_id FOREIGN KEY (entity_id) REFERENCES opt_entities (entity_id),
    CONSTRAINT fk_opt_deployments_entity_id_run_id
        FOREIGN KEY (entity_id, run_id) REFERENCES opt_runs (entity_id, run_id),
    CONSTRAINT ck_opt_deployments_traffic_pct CHECK (traffic_pct BETWEEN 0 AND 100),
    CONSTRAINT ck_opt_deployments_is_active CHECK (is_active IN (0, 1)),
    CONSTRAINT ck_opt_deployments_source CHECK (source IN ('manual', 'scheduled', 'canary', 'control', 'rollback')),
    CONSTRAINT ck_opt_deployments_is_pinned CHECK (is_pinned IN (0, 1))
) ENGINE = InnoDB CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- Runs that are tried in steps: 5 % for a day, 20 % for two, and so on. At most one is open per entity.
CREATE TABLE opt_canaries (
    canary_id       INTEGER      NOT NULL AUTO_INCREMENT,
    entity_id       INTEGER      NOT NULL,
    run_id          VARCHAR(64)  NOT NULL,
    canary_plan     VARCHAR(200) NOT NULL,                  -- 5@1d, 20@2d, 50@2d, 100
    step            SMALLINT     NOT NULL DEFAULT 1,        -- from 1
    status          VARCHAR(20)  NOT NULL DEFAULT 'running', -- running, paused, promoted, rolled_back or aborted
    reason          TEXT         NULL,                      -- why it is paused or ended
    changed_by      VARCHAR(200) NOT NULL DEFAULT '',       -- who changed the status last
    started_at      DATETIME(6)  NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    step_started_at DATETIME(6)  NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    ended_at        DATETIME(6)  NULL,                      -- NULL while running or paused
    open_marker     SMALLINT     GENERATED ALWAYS AS (CASE WHEN ended_at IS NULL THEN 1 END) VIRTUAL,
    PRIMARY KEY (canary_id),
    CONSTRAINT uq_opt_canaries_entity_id_open_marker UNIQUE (entity_id, open_marker),
    INDEX ix_opt_canaries_entity_id_run_id (entity_id, run_id),
    CONSTRAINT fk_opt_canaries_entity_id_run_id
        FOREIGN KEY (entity_id, run_id) REFERENCES opt_runs (entity_id, run_id),
    CONSTRAINT ck_opt_canaries_status CHECK (status IN ('running', 'paused', 'promoted', 'rolled_back', 'aborted'))
) ENGINE = InnoDB CHARSET = utf8mb4 COLLATE = utf8mb4_bin;


-- --------------------------------------------------------------------------------------------------------- live figures

-- What each run's bids brought on each UTC day, with what the run forecast. Money in currency units, CPM per thousand wins.
CREATE TABLE opt_live_daily (
    id                INTEGER     NOT NULL AUTO_INCREMENT,
    entity_id         INTEGER     NOT NULL,
    run_id            VARCHAR(64) NOT NULL,
    day               DATE        NOT NULL,
    traffic_pct       DOUBLE      NULL,                     -- deployed share, averaged over the day; NULL: not known
    bids              BIGINT      NOT NULL,
    wins              BIGINT      NOT NULL,
    clicks            BIGINT      NOT NULL,                 -- of these wins, however late
    spend             DOUBLE      NULL,
    view_revenue      DOUBLE      NULL,
    click_revenue     DOUBLE      NULL,
    click_maturity    DOUBLE      NULL,                     -- share of the clicks that should have arrived by now, 0 to 1
    forecast_win_rate DOUBLE      NULL,
    forecast_cpm      DOUBLE      NULL,
    forecast_ctr      DOUBLE      NULL,
    forecast_margin   DOUBLE      NULL,
    measured_at       DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    PRIMARY KEY (id),
    CONSTRAINT uq_opt_live_daily_entity_id_run_id_day UNIQUE (entity_id, run_id, day),
    INDEX ix_opt_live_daily_entity_id_day (entity_id, day),
    CONSTRAINT fk_opt_live_daily_entity_id_run_id
        FOREIGN KEY (entity_id, run_id) REFERENCES opt_runs (entity_id, run_id)
) ENGINE = InnoDB CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- What was concluded each morning, a row a figure: of a run, and of the policy (run_id NULL), which is all runs but the control.
CREATE TABLE opt_live_verdicts (
    id              INTEGER     NOT NULL AUTO_INCREMENT,
    entity_id       INTEGER     NOT NULL,
    run_id          VARCHAR(64) NULL,                       -- NULL: the policy, one run after the other
    compared_with   VARCHAR(20) NOT NULL,                   -- forecast, control, or split (the largest other share)
    control_run_id  VARCHAR(64) NULL,                       -- the run that it is compared with; NULL for a forecast
    figure          VARCHAR(20) NOT NULL,                   -- win_rate, cpm, ctr or margin
    verdict         VARCHAR(20) NOT NULL,                   -- on target, below target or inconclusive
    reason          TEXT        NULL,
    first_day       DATE        NULL,
    last_day        DATE        NULL,
    days            INTEGER     NOT NULL,
    live            DOUBLE      NULL,
    live_low        DOUBLE      NULL,                       -- 95 %, valid however often it is read
    live_high       DOUBLE      NULL,
    expected        DOUBLE      NULL,
    control         DOUBLE      NULL,
    difference      DOUBLE      NULL,                       -- live less control
    difference_low  DOUBLE      NULL,
    difference_high DOUBLE      NULL,
    measured_on     DATE        NOT NULL,
    measured_at     DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    PRIMARY KEY (id),
    INDEX ix_opt_live_verdicts_entity_id_measured_on (entity_id, measured_on),
    INDEX ix_opt_live_verdicts_entity_id_run_id (entity_id, run_id),
    CONSTRAINT fk_opt_live_verdicts_entity_id_run_id
        FOREIGN KEY (entity_id, run_id) REFERENCES opt_runs (entity_id, run_id),
    CONSTRAINT ck_opt_live_verdicts_compared_with CHECK (compared_with IN ('forecast', 'control', 'split')),
    CONSTRAINT ck_opt_live_verdicts_verdict CHECK (verdict IN ('on target', 'below target', 'inconclusive'))
) ENGINE = InnoDB CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- What the optimizer saved against the control share, in currency units; replaced every morning.
CREATE TABLE opt_live_savings (
    id              INTEGER     NOT NULL AUTO_INCREMENT,
    entity_id       INTEGER     NOT NULL,
    run_id          VARCHAR(64) NOT NULL,                   -- the control
    period          VARCHAR(20) NOT NULL,                   -- yesterday, month or since_start
    first_day       DATE        NOT NULL,
    last_day        DATE        NOT NULL,
    days            INTEGER     NOT NULL,
    policy_bids     BIGINT      NULL,
    policy_wins     BIGINT      NULL,
    policy_clicks   BIGINT      NULL,
    control_bids    BIGINT      NULL,
    control_wins    BIGINT      NULL,
    control_clicks  BIGINT      NULL,
    policy_spend    DOUBLE      NULL,
    policy_revenue  DOUBLE      NULL,
    control_spend   DOUBLE      NULL,
    control_revenue DOUBLE      NULL,
    saved           DOUBLE      NULL,                       -- spend at the control's CPM, less spend
    saved_low       DOUBLE      NULL,                       -- 95 %, valid however often it is read
    saved_high      DOUBLE      NULL,
    gained          DOUBLE      NULL,                       -- surplus, less the control's scaled to as many requests
    gained_low      DOUBLE      NULL,
    gained_high     DOUBLE      NULL,
    measured_at     DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    PRIMARY KEY (id),
    CONSTRAINT uq_opt_live_savings_entity_id_period UNIQUE (entity_id, period),
    INDEX ix_opt_live_savings_entity_id_run_id (entity_id, run_id),
    CONSTRAINT fk_opt_live_savings_entity_id_run_id
        FOREIGN KEY (entity_id, run_id) REFERENCES opt_runs (entity_id, run_id),
    CONSTRAINT ck_opt_live_savings_period CHECK (period IN ('yesterday', 'month', 'since_start'))
) ENGINE = InnoDB CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- Incidents: opened when something is wrong, closed when it is over. A kind and subject are open at most once.
CREATE TABLE opt_alerts (
    alert_id     INTEGER      NOT NULL AUTO_INCREMENT,
    entity_id    INTEGER      NOT NULL,
    kind         VARCHAR(40)  NOT NULL,                     -- below_target, split_mismatch, spend_guard, ...
    subject      VARCHAR(100) NOT NULL DEFAULT '',          -- what it is about: a run_id, a figure
    message      TEXT         NOT NULL,
    opened_at    DATETIME(6)  NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    last_seen_at DATETIME(6)  NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    closed_at    DATETIME(6)  NULL,                         -- NULL while it lasts
    open_marker  SMALLINT     GENERATED ALWAYS AS (CASE WHEN closed_at IS NULL THEN 1 END) VIRTUAL,
    PRIMARY KEY (alert_id),
    CONSTRAINT uq_opt_alerts_entity_id_kind_subject_open_marker UNIQUE (entity_id, kind, subject, open_marker),
    CONSTRAINT fk_opt_alerts_entity_id FOREIGN KEY (entity_id) REFERENCES opt_entities (entity_id)
) ENGINE = InnoDB CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- Messages about incidents: one per event and destination. sent_at is NULL until the message arrived.
CREATE TABLE opt_notifications (
    notification_id INTEGER      NOT NULL AUTO_INCREMENT,
    alert_id        INTEGER      NOT NULL,
    event           VARCHAR(20)  NOT NULL,
    destination     VARCHAR(200) NOT NULL,                  -- as in OPTIMIZER_NOTIFIERS; no secret
    attempts        SMALLINT     NOT NULL DEFAULT '1',
    claimed_at      DATETIME(6)  NULL,                      -- set while a task sends it
    sent_at         DATETIME(6)  NULL,
    PRIMARY KEY (notification_id),
    CONSTRAINT uq_opt_notifications_alert_id_event_destination UNIQUE (alert_id, event, destination),
    CONSTRAINT ck_opt_notifications_event CHECK (event IN ('opened', 'closed')),
    CONSTRAINT fk_opt_notifications_alert_id FOREIGN KEY (alert_id) REFERENCES opt_alerts (alert_id)
) ENGINE = InnoDB CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- What bidders did with the impressions that they were asked for: one row per hour, bidder process and outcome.
CREATE TABLE opt_bidder_counts (
    count_id     INTEGER      NOT NULL AUTO_INCREMENT,
    entity_id    INTEGER      NOT NULL,
    bidder       VARCHAR(100) NOT NULL,                     -- host and start of the process
    counted_hour DATETIME(6)  NOT NULL,                     -- begin of the hour, UTC
    run_id       VARCHAR(64)  NOT NULL,                     -- that priced them, or empty
    outcome      VARCHAR(20)  NOT NULL,                     -- segment, fallback, below_floor, unreadable, ...
    impressions  BIGINT       NOT NULL,
    written_at   DATETIME(6)  NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    PRIMARY KEY (count_id),
    CONSTRAINT uq_opt_bidder_counts_hour_bidder_run_id_outcome
        UNIQUE (entity_id, counted_hour, bidder, run_id, outcome),
    INDEX ix_opt_bidder_counts_counted_hour (counted_hour),
    CONSTRAINT fk_opt_bidder_counts_entity_id FOREIGN KEY (entity_id) REFERENCES opt_entities (entity_id)
) ENGINE = InnoDB CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- The number of each entity's snapshot in the object store, which bidders without access to these tables read.
CREATE TABLE opt_serving_snapshots (
    entity_id    INTEGER     NOT NULL,
    sequence     INTEGER     NOT NULL,                      -- the last number that was taken
    content_hash CHAR(64)    NULL,                          -- of what that snapshot says; NULL until it is known to be written
    written_at   DATETIME(6) NULL,
    PRIMARY KEY (entity_id),
    CONSTRAINT fk_opt_serving_snapshots_entity_id FOREIGN KEY (entity_id) REFERENCES opt_entities (entity_id)
) ENGINE = InnoDB CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- Who changed what, when, from which value to which, and why. Rows are only added.
CREATE TABLE opt_audit (
    audit_id     INTEGER       NOT NULL AUTO_INCREMENT,
    occurred_at  DATETIME(6)   NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    actor        VARCHAR(200)  NOT NULL,                    -- a person's name, or the part of the system
    is_person    BOOLEAN       NOT NULL,
    action       VARCHAR(40)   NOT NULL,                    -- deploy, pin, set_control, cancel, ...
    entity_id    INTEGER       NULL,
    run_id       VARCHAR(64)   NULL,
    before_value JSON          NULL,
    after_value  JSON          NULL,
    comment      VARCHAR(1000) NOT NULL DEFAULT '',
    PRIMARY KEY (audit_id),
    INDEX ix_opt_audit_entity_id_occurred_at (entity_id, occurred_at),
    INDEX ix_opt_audit_run_id (run_id),
    CONSTRAINT fk_opt_audit_entity_id FOREIGN KEY (entity_id) REFERENCES opt_entities (entity_id),
    CONSTRAINT fk_opt_audit_run_id FOREIGN KEY (run_id) REFERENCES opt_runs (run_id),
    CONSTRAINT ck_opt_audit_is_person CHECK (is_person IN (0, 1))
) ENGINE = InnoDB CHARSET = utf8mb4 COLLATE = utf8mb4_bin;


-- -------------------------------------------------------------------------------------------------------- this file's age

-- The revision of these tables, which `optimizer migrate` goes on from.
CREATE TABLE opt_schema_version (
    version_num VARCHAR(32) NOT NULL,
    CONSTRAINT opt_schema_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO opt_schema_version (version_num) VALUES ('0005');
