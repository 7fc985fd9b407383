-- How the bids of entities' windows were shared by their runs: what the check of the split counts.
-- Grain: one row an object and a measure and, where the measure has them, a UTC day, a place and a run:
--   bids        by day and run
--   place_bids  by place (the first of the features) and run
--   named_bids  bids with an NPI, by run
--   ids         NPIs by the run that priced the NPI's first bid, so that each counts once
--   largest_id  the bids of the NPI that has the most
-- No NPI leaves the warehouse. Bids of tests are left out, and so are the NPIs of bids that privacy restricts: the auction
-- decided their run.
-- Parameters: object_ids, data_start_dt, data_end_dt (half open).
{% set place = features[0] -%}
WITH bids AS (
    SELECT
        object_id,
        bid_ts,
        run_id,
        {% if "privacy" in bids_columns %}IFF(COALESCE(privacy, '') = '', NULLIF(npi, ''), NULL){% else %}NULLIF(npi, ''){% endif %} AS npi,
        COALESCE({{ place }}, '') AS place
    FROM BIDS
    WHERE object_id IN (%(object_ids)s)
        AND bid_ts >= %(data_start_dt)s
        {%- if starts %}
        AND bid_ts >= {% include "_own_start.sql" %}
        {%- endif %}
        AND bid_ts < %(data_end_dt)s
        AND bid_cpm > 0
        {%- if "is_test" in bids_columns %}
        AND NOT COALESCE(is_test, FALSE)
        {%- endif %}
        AND run_id IS NOT NULL
    QUALIFY ROW_NUMBER() OVER (PARTITION BY object_id, bid_id ORDER BY bid_ts) = 1
),
first_bids AS (
    SELECT object_id, run_id, COUNT(*) OVER (PARTITION BY object_id, npi) AS bids_of_id
    FROM bids
    WHERE npi IS NOT NULL
    QUALIFY ROW_NUMBER() OVER (PARTITION BY object_id, npi ORDER BY bid_ts, run_id) = 1
)
SELECT object_id, 'bids' AS measure, TO_DATE(bid_ts) AS day, NULL AS place, run_id, COUNT(*) AS number
FROM bids GROUP BY object_id, TO_DATE(bid_ts), run_id
UNION ALL
SELECT object_id, 'place_bids' AS measure, NULL AS day, place, run_id, COUNT(*) AS number
FROM bids GROUP BY object_id, place, run_id
UNION ALL
SELECT object_id, 'named_bids' AS measure, NULL AS day, NULL AS place, run_id, COUNT(npi) AS number
FROM bids GROUP BY object_id, run_id
UNION ALL
SELECT object_id, 'ids' AS measure, NULL AS day, NULL AS place, run_id, COUNT(*) AS number
FROM first_bids GROUP BY object_id, run_id
UNION ALL
SELECT object_id, 'largest_id' AS measure, NULL AS day, NULL AS place, NULL AS run_id, COALESCE(MAX(bids_of_id), 0) AS number
FROM first_bids GROUP BY object_id
