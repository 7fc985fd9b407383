-- Cells of an entity's window by domain.
-- Grain: one row a UTC day, domain and bid price bucket.
-- Parameters: object_id, data_start_dt, data_end_dt (half open), recent_dt (multipliers count from here on), bucket_width (log CPM).
WITH {% include "_auctions.sql" %}
SELECT
    TO_DATE(bid_ts)                            AS day,
    domain,
    ROUND(LN(bid_cpm) / %(bucket_width)s)      AS price_bucket,
{% set multiplier = "domain_multiplier" -%}
{% include "_multiplier_sums.sql" %}
{% include "_cell_sums.sql" %}
FROM auctions
WHERE domain IS NOT NULL AND domain <> ''
GROUP BY ALL
ORDER BY day, domain, price_bucket
