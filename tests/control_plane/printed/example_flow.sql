-- The SQL of the example flow "Running Optimizer for drugs_hcp", character for character: the contract with the UI
-- and the bidder teams. A line `-- name:` starts each statement; nothing else is added.

-- name: ui_reads_entity
  SELECT entity_id, entity_code, current_version_id, s3_base_path
  FROM opt_entities WHERE entity_code = 'drugs_hcp';

-- name: ui_reads_entity_configs
  SELECT config_key, config_value
  FROM opt_entity_configs WHERE entity_id = 1;

-- name: ui_inserts_run
  INSERT INTO opt_runs (run_id, entity_id, version_id, status, triggered_by,
  trigger_type, created_at)
  VALUES ('20260203_150000', 1, 5, 'pending', 'gaurav@company.com', 'manual', NOW());

-- name: ui_inserts_run_configs
  INSERT INTO opt_run_configs (run_id, config_key, config_value, config_section)
  VALUES
    ('20260203_150000', 'target_win_rate', '0.65', 'business'),
    ('20260203_150000', 'max_bid_cpm', '30.00', 'technical'),
    ('20260203_150000', 'exploration_mode', 'true', 'business'),
    ('20260203_150000', 'aggressive_exploration', 'true', 'technical');

-- name: optimizer_polls_pending
  SELECT r.run_id, r.entity_id, r.version_id, e.entity_code, e.s3_base_path
  FROM opt_runs r
  JOIN opt_entities e ON r.entity_id = e.entity_id
  WHERE r.status = 'pending'
  ORDER BY r.created_at LIMIT 1;

-- name: optimizer_reads_entity_configs
  SELECT config_key, config_value FROM opt_entity_configs WHERE entity_id = 1;

-- name: optimizer_reads_run_configs
  SELECT config_key, config_value, config_section FROM opt_run_configs WHERE run_id =
  '20260203_150000';

-- name: optimizer_reads_macros
  SELECT macro_id, feature_name, macro_template FROM opt_feature_macros WHERE status =
   'A';

-- name: optimizer_starts_run
  UPDATE opt_runs SET status = 'running', started_at = NOW() WHERE run_id =
  '20260203_150000';

-- name: optimizer_completes_run
  UPDATE opt_runs SET
    status = 'completed',
    segments_count = 541,
    bid_median = 30.00,
    bid_min = 19.63,
    bid_max = 30.00,
    s3_output_path =
  's3://tn-optimizer-data/optimizer/drugs_hcp/runs/20260203_150000/',
    validation_status = 'passed',
    completed_at = NOW()
  WHERE run_id = '20260203_150000';

-- name: optimizer_inserts_features
  INSERT INTO opt_run_features (run_id, feature_name, feature_order, is_anchor,
  signal_score, macro_id) VALUES
    ('20260203_150000', 'geo_region_name', 1, 1, NULL, 2),
    ('20260203_150000', 'os_code', 2, 0, 95.72, 3);

-- name: optimizer_inserts_metrics
  INSERT INTO opt_run_metrics (run_id, metric_key, metric_value, metric_section)
  VALUES
    ('20260203_150000', 'wr_model_auc', 0.6174, 'win_rate_model'),
    ('20260203_150000', 'wr_model_ece', 0.0226, 'win_rate_model'),
    ('20260203_150000', 'ctr_model_auc', 0.4976, 'ctr_model'),
    ('20260203_150000', 'bid_coefficient', 0.2779, 'bid_landscape'),
    ('20260203_150000', 'global_win_rate', 0.312, 'global_stats');

-- name: ui_lists_completed
  SELECT r.run_id, r.created_at, r.segments_count, r.bid_median
  FROM opt_runs r
  WHERE r.entity_id = 1 AND r.status = 'completed' AND r.validation_status = 'passed'
  ORDER BY r.created_at DESC;

-- name: ui_reads_metrics
  SELECT metric_key, metric_value FROM opt_run_metrics WHERE run_id IN ('20260203_150000', '20260201_120000');

-- name: ui_reads_split
  SELECT run_id, traffic_pct FROM opt_deployments WHERE entity_id = 1 AND is_active = 1;

-- name: ui_deactivates_split
  UPDATE opt_deployments SET is_active = 0, deactivated_at = NOW()
  WHERE entity_id = 1 AND is_active = 1;

-- name: ui_inserts_split
  INSERT INTO opt_deployments (run_id, entity_id, traffic_pct, is_active, deployed_by, deployed_at)
  VALUES
    ('20260203_150000', 1, 80, 1, 'gaurav@company.com', NOW()),
    ('20260201_120000', 1, 20, 1, 'gaurav@company.com', NOW());

-- name: bidder_reads_deployments
  SELECT d.deployment_id, d.run_id, d.traffic_pct,
         r.s3_output_path, e.entity_code
  FROM opt_deployments d
  JOIN opt_runs r ON d.run_id = r.run_id
  JOIN opt_entities e ON d.entity_id = e.entity_id
  WHERE e.entity_code = 'drugs_hcp' AND d.is_active = 1;

-- name: bidder_reads_features
  SELECT f.feature_name, f.feature_order, m.macro_template
  FROM opt_run_features f
  JOIN opt_feature_macros m ON f.macro_id = m.macro_id
  WHERE f.run_id = '20260203_150000'
  ORDER BY f.feature_order;
