-- What the four accounts of the control plane may do, and no more.
--
-- Apply it as an administrator, after schema.sql:  mysql <database> < grants.sql
-- The accounts are created beforehand, with passwords from the secret store, never from a file:
--   CREATE USER 'optimizer_app'@'%' IDENTIFIED BY '...' REQUIRE SSL;
--
-- "Write" is INSERT and UPDATE; rows are deleted only where a repeated write replaces its own.


-- -------------------------------------------------------------------------------------------------------- optimizer_ui
-- Starts runs, shows them, and sets the traffic split.

GRANT SELECT ON opt_master TO 'optimizer_ui'@'%';
GRANT SELECT ON opt_versions TO 'optimizer_ui'@'%';
GRANT SELECT ON opt_version_configs TO 'optimizer_ui'@'%';
GRANT SELECT ON opt_entities TO 'optimizer_ui'@'%';
GRANT SELECT ON opt_entity_configs TO 'optimizer_ui'@'%';
GRANT SELECT, INSERT, UPDATE ON opt_runs TO 'optimizer_ui'@'%';
GRANT INSERT ON opt_run_configs TO 'optimizer_ui'@'%';
GRANT SELECT ON opt_run_features TO 'optimizer_ui'@'%';
GRANT SELECT ON opt_run_feature_macros TO 'optimizer_ui'@'%';
GRANT SELECT ON opt_run_metrics TO 'optimizer_ui'@'%';
GRANT SELECT ON opt_run_outputs TO 'optimizer_ui'@'%';
GRANT SELECT, INSERT, UPDATE ON opt_deployments TO 'optimizer_ui'@'%';
GRANT SELECT ON opt_canaries TO 'optimizer_ui'@'%';
GRANT SELECT ON opt_live_daily TO 'optimizer_ui'@'%';
GRANT SELECT ON opt_live_verdicts TO 'optimizer_ui'@'%';
GRANT SELECT ON opt_live_savings TO 'optimizer_ui'@'%';
GRANT SELECT ON opt_alerts TO 'optimizer_ui'@'%';
GRANT SELECT ON opt_notifications TO 'optimizer_ui'@'%';
GRANT SELECT ON opt_bidder_counts TO 'optimizer_ui'@'%';
GRANT SELECT ON opt_audit TO 'optimizer_ui'@'%';


-- ------------------------------------------------------------------------------------------------------- optimizer_app
-- Runs the optimizer in Airflow: takes runs, writes their results, deploys them.

GRANT SELECT ON opt_schema_version TO 'optimizer_app'@'%'; -- to refuse tables of another revision
GRANT SELECT ON opt_master TO 'optimizer_app'@'%';
GRANT SELECT ON opt_versions TO 'optimizer_app'@'%';
GRANT SELECT ON opt_version_configs TO 'optimizer_app'@'%';
GRANT SELECT, UPDATE (active_run_id, control_run_id) ON opt_entities TO 'optimizer_app'@'%'; -- UPDATE also allows its row lock
GRANT SELECT ON opt_entity_configs TO 'optimizer_app'@'%';
GRANT SELECT ON opt_feature_macros TO 'optimizer_app'@'%';
GRANT SELECT, INSERT, UPDATE ON opt_runs TO 'optimizer_app'@'%';
GRANT SELECT ON opt_run_configs TO 'optimizer_app'@'%';
GRANT SELECT, INSERT, DELETE ON opt_run_features TO 'optimizer_app'@'%';
GRANT SELECT, INSERT, DELETE ON opt_run_feature_macros TO 'optimizer_app'@'%';
GRANT SELECT, INSERT, DELETE ON opt_run_outputs TO 'optimizer_app'@'%';
-- The optimizer writes metrics and does not read them. A repeated write replaces the run's rows, all of them or those of
-- one section, and DELETE ... WHERE run_id = ... AND metric_section = ... has to read these two columns.
GRANT SELECT (run_id, metric_section), INSERT, DELETE ON opt_run_metrics TO 'optimizer_app'@'%';
GRANT SELECT, INSERT, UPDATE ON opt_deployments TO 'optimizer_app'@'%';
GRANT SELECT, INSERT, UPDATE ON opt_canaries TO 'optimizer_app'@'%';
GRANT SELECT, INSERT, DELETE ON opt_live_daily TO 'optimizer_app'@'%';
GRANT SELECT, INSERT, DELETE ON opt_live_verdicts TO 'optimizer_app'@'%';
GRANT SELECT, INSERT, DELETE ON opt_live_savings TO 'optimizer_app'@'%';
GRANT SELECT, INSERT, UPDATE ON opt_alerts TO 'optimizer_app'@'%';
GRANT SELECT, INSERT, UPDATE ON opt_notifications TO 'optimizer_app'@'%';
GRANT SELECT, DELETE ON opt_bidder_counts TO 'optimizer_app'@'%'; -- old rows are removed
GRANT SELECT, INSERT, UPDATE ON opt_serving_snapshots TO 'optimizer_app'@'%';
GRANT SELECT, INSERT ON opt_audit TO 'optimizer_app'@'%'; -- rows are only added


-- --------------------------------------------------------------------------------------------------- optimizer_console
-- The web pages in Airflow: shows everything, changes a client's config, starts runs and sets the traffic split.

GRANT SELECT ON opt_schema_version TO 'optimizer_console'@'%';
GRANT SELECT ON opt_master TO 'optimizer_console'@'%';
GRANT SELECT ON opt_versions TO 'optimizer_console'@'%';
GRANT SELECT ON opt_version_configs TO 'optimizer_console'@'%';
GRANT SELECT, UPDATE (active_run_id, control_run_id) ON opt_entities TO 'optimizer_console'@'%'; -- UPDATE also allows its row lock
GRANT SELECT, INSERT, UPDATE, DELETE ON opt_entity_configs TO 'optimizer_console'@'%'; -- without a row the default counts
GRANT SELECT ON opt_feature_macros TO 'optimizer_console'@'%';
GRANT SELECT, INSERT, UPDATE ON opt_runs TO 'optimizer_console'@'%';
GRANT SELECT, INSERT ON opt_run_configs TO 'optimizer_console'@'%';
GRANT SELECT ON opt_run_features TO 'optimizer_console'@'%';
GRANT SELECT ON opt_run_feature_macros TO 'optimizer_console'@'%';
GRANT SELECT ON opt_run_metrics TO 'optimizer_console'@'%';
GRANT SELECT ON opt_run_outputs TO 'optimizer_console'@'%';
GRANT SELECT, INSERT, UPDATE ON opt_deployments TO 'optimizer_console'@'%';
GRANT SELECT, INSERT, UPDATE ON opt_canaries TO 'optimizer_console'@'%';
GRANT SELECT ON opt_live_daily TO 'optimizer_console'@'%';
GRANT SELECT ON opt_live_verdicts TO 'optimizer_console'@'%';
GRANT SELECT ON opt_live_savings TO 'optimizer_console'@'%';
GRANT SELECT ON opt_alerts TO 'optimizer_console'@'%';
GRANT SELECT ON opt_bidder_counts TO 'optimizer_console'@'%';
GRANT SELECT, INSERT, UPDATE ON opt_serving_snapshots TO 'optimizer_console'@'%';
GRANT SELECT, INSERT ON opt_audit TO 'optimizer_console'@'%'; -- rows are only added


-- ---------------------------------------------------------------------------------------------------- optimizer_bidder
-- Reads which runs to serve, where their objects are and how their keys are built; writes what it did with requests.

GRANT SELECT ON opt_entities TO 'optimizer_bidder'@'%';
GRANT SELECT ON opt_runs TO 'optimizer_bidder'@'%';
GRANT SELECT ON opt_run_features TO 'optimizer_bidder'@'%';
GRANT SELECT ON opt_feature_macros TO 'optimizer_bidder'@'%';
GRANT SELECT ON opt_deployments TO 'optimizer_bidder'@'%';
GRANT SELECT, INSERT, UPDATE ON opt_bidder_counts TO 'optimizer_bidder'@'%'; -- only its own hours
