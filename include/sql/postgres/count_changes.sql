-- How often runs were written, as Postgres counts it; where they are split by project, it counts for each partition.
-- Grain: one row.
SELECT coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0)::bigint
FROM pg_stat_user_tables
WHERE relid = 'optimization_runs'::regclass
    OR relid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = 'optimization_runs'::regclass)
