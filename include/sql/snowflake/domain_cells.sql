-- Cells of an entity's window by domain.
-- Grain: one row a UTC day, domain and bid price bucket, or several of these as one. If there are more than max_cells, the domains with the most bids.
-- Parameters: object_id, data_start_dt, data_end_dt (half open), recent_dt (multipliers count from here on), bucket_width (log CPM), max_cells.
-- Template: cells, whose grain says how many buckets are one.
{% from "_segment_key.sql" import bucket -%}
WITH {% include "_auctions.sql" %},
cells AS (
    SELECT
        TO_DATE(bid_ts)                            AS day,
        domain,
        {{ bucket("ROUND(LN(bid_cpm) / %(bucket_width)s)", cells[0][1].price_buckets) }} AS price_bucket,
{% set multiplier = "domain_multiplier" -%}
{% include "_multiplier_sums.sql" %}
{% include "_cell_sums.sql" %}
    FROM auctions
    WHERE domain IS NOT NULL AND domain <> ''
    GROUP BY ALL
)
{% set key = "domain" -%}
{% include "_largest.sql" %}
ORDER BY day, domain, price_bucket
