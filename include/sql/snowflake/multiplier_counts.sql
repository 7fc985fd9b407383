-- How many cells an entity's window has by domain and by identified professional.
-- Grain: one row; column domains_<n> is the number of domain cells with n price buckets as one, npis that of the totals.
-- Only BIDS is read: a cell has at least one bid.
-- Parameters: object_id, data_start_dt, data_end_dt (half open), bucket_width (log CPM), mature_dt. Template: cells, whose grains have the numbers.
{% from "_segment_key.sql" import bucket -%}
WITH bids AS (
    SELECT TO_DATE(bid_ts) AS day, domain, npi, ROUND(LN(bid_cpm) / %(bucket_width)s) AS bid_bucket
    FROM BIDS
    WHERE object_id = %(object_id)s
        AND bid_ts >= %(data_start_dt)s
        AND bid_ts < %(data_end_dt)s
        AND bid_cpm > 0
),
domains AS (
    SELECT DISTINCT day, domain, bid_bucket
    FROM bids
    WHERE domain <> ''
),
npis AS (
    SELECT DISTINCT npi, GREATEST(day, TO_DATE(%(mature_dt)s)) AS day
    FROM bids
    WHERE npi <> ''
)
SELECT
{%- for _, grain in cells %}
    (SELECT COUNT(*) FROM (SELECT DISTINCT day, domain, {{ bucket("bid_bucket", grain.price_buckets) }} AS price_bucket FROM domains) AS merged) AS domains_{{ grain.price_buckets }},
{%- endfor %}
    (SELECT COUNT(*) FROM npis) AS npis
