-- What the ended statements of this session scanned and cost, as the Information Schema knows it without delay.
-- Grain: one row. Credits are those of cloud services; a statement's share of the warehouse's own comes hours later, in
-- SNOWFLAKE.ACCOUNT_USAGE.QUERY_ATTRIBUTION_HISTORY.
SELECT
    COUNT(*) AS statements,
    SUM(bytes_scanned) AS bytes_scanned,
    SUM(execution_time) / 1000 AS execution_s,
    SUM(credits_used_cloud_services) AS cloud_services_credits
FROM TABLE(INFORMATION_SCHEMA.QUERY_HISTORY_BY_SESSION(RESULT_LIMIT => 1000))
WHERE execution_status = 'SUCCESS'
