-- The SQL of the drawing "Optimizer run flow", with its run_id written as a string ('47' for 47), as the tables hold it.
-- A line `-- name:` starts each statement; nothing else is changed.

-- name: completes_run
  UPDATE opt_runs SET status='success', completed_at=NOW(),
         total_segments=1454, segments_in_memcache=93
  WHERE run_id='47';

-- name: inserts_features
  INSERT INTO opt_run_features (run_id, feature_name, feature_order, signal_score)
  VALUES ('47', 'internal_adspace_id', 1, 999.0),
         ('47', 'geo_region_name', 2, 184.0),
         ('47', 'os_code', 3, 78.2);

-- name: inserts_outputs
  INSERT INTO opt_run_outputs (run_id, output_type, s3_bucket, s3_key, row_count)
  VALUES ('47', 'memcache', 'tn-optimizer-data',
          'drugs_com/v3/20260128_090000/memcache.csv', 93);

-- name: inserts_macros
  INSERT INTO opt_run_feature_macros (run_id, macro_combination)
  VALUES ('47', '[ADX_PLACEMENT_ID]|[ADX_GEO_STATE]|[ADX_USER_OS]');

-- name: points_entity
  UPDATE opt_entities SET active_run_id='47' WHERE entity_id=2;
