-- What an entity's window holds, dirt included: the figures that the run reports.
-- Bids of tests are left out.
-- Grain: one row. Views and clicks without a bid cannot be given to an entity by object_id, so they are those of all
-- entities in the window; they count for the click rate only. A bid is looked for from a week before the window on.
-- The columns odd_* count rows whose number is NaN or infinite: such a number minus itself is not 0.
-- Parameters: object_id, data_start_dt, data_end_dt (half open).
WITH window_bids AS (
    SELECT bid_id, bid_ts, bid_cpm, base_bid_cpm, domain_multiplier, npi_multiplier, floor_cpm
    FROM BIDS
    WHERE object_id = %(object_id)s
        AND bid_ts >= %(data_start_dt)s
        AND bid_ts < %(data_end_dt)s
        {%- if "is_test" in bids_columns %}
        AND NOT COALESCE(is_test, FALSE)
        {%- endif %}
),
distinct_views AS (
    SELECT
        views.bid_id,
        MIN(views.view_ts)                                            AS view_ts,
        COUNT(*)                                                      AS rows_seen,
        COUNT_IF(NOT (views.cost_cpm - views.cost_cpm = 0))           AS odd_costs,
        COUNT_IF(NOT (views.revenue - views.revenue = 0))             AS odd_revenues
    FROM VIEWS AS views
    WHERE views.view_ts >= %(data_start_dt)s
    GROUP BY views.bid_id
),
distinct_clicks AS (
    SELECT
        clicks.bid_id,
        COUNT(*)                                                      AS rows_seen,
        COUNT_IF(NOT (clicks.revenue - clicks.revenue = 0))           AS odd_revenues
    FROM CLICKS AS clicks
    WHERE clicks.click_ts >= %(data_start_dt)s
    GROUP BY clicks.bid_id
),
bid_totals AS (
    SELECT
        COUNT(*)                                                      AS bid_rows,
        COUNT(DISTINCT bid_id)                                        AS distinct_bids,
        COUNT(DISTINCT IFF(bid_cpm > 0, bid_id, NULL))                AS usable_bids,
        COUNT(DISTINCT IFF(bid_cpm > 0, NULL, bid_id))                AS zero_bids,
        MIN(bid_ts)                                                   AS first_bid_ts,
        MAX(bid_ts)                                                   AS last_bid_ts,
        COUNT_IF(NOT (bid_cpm - bid_cpm = 0))                         AS odd_bids_bid_cpm,
        COUNT_IF(NOT (base_bid_cpm - base_bid_cpm = 0))               AS odd_bids_base_bid_cpm,
        COUNT_IF(NOT (domain_multiplier - domain_multiplier = 0))     AS odd_bids_domain_multiplier,
        COUNT_IF(NOT (npi_multiplier - npi_multiplier = 0))           AS odd_bids_npi_multiplier,
        COUNT_IF(NOT (floor_cpm - floor_cpm = 0))                     AS odd_bids_floor_cpm
    FROM window_bids
),
view_totals AS (
    SELECT
        COUNT(*)                                                      AS joined_views,
        COALESCE(SUM(distinct_views.rows_seen - 1), 0)                AS duplicate_views,
        COALESCE(SUM(distinct_views.odd_costs), 0)                    AS odd_views_cost_cpm,
        COALESCE(SUM(distinct_views.odd_revenues), 0)                 AS odd_views_revenue
    FROM distinct_views
    WHERE distinct_views.bid_id IN (SELECT bid_id FROM window_bids WHERE bid_cpm > 0)
),
click_totals AS (
    SELECT
        COUNT(*)                                                      AS joined_clicks,
        COALESCE(SUM(distinct_clicks.odd_revenues), 0)                AS odd_clicks_revenue
    FROM distinct_clicks
    INNER JOIN distinct_views ON distinct_views.bid_id = distinct_clicks.bid_id
    WHERE distinct_clicks.bid_id IN (SELECT bid_id FROM window_bids WHERE bid_cpm > 0)
),
orphan_totals AS (
    SELECT
        COUNT(*)                                                      AS orphan_views,
        COUNT(distinct_clicks.bid_id)                                 AS orphan_clicks
    FROM distinct_views
    LEFT JOIN distinct_clicks ON distinct_clicks.bid_id = distinct_views.bid_id
    WHERE distinct_views.view_ts < %(data_end_dt)s
        AND NOT EXISTS (
            SELECT 1
            FROM BIDS
            WHERE BIDS.bid_id = distinct_views.bid_id
                AND BIDS.bid_ts >= DATEADD(day, -7, %(data_start_dt)s::TIMESTAMP_NTZ)
                AND BIDS.bid_ts < %(data_end_dt)s
        )
)
SELECT
    bid_rows,
    distinct_bids,
    usable_bids,
    zero_bids,
    first_bid_ts,
    last_bid_ts,
    joined_views,
    duplicate_views,
    joined_clicks,
    orphan_views,
    orphan_clicks,
    odd_bids_bid_cpm,
    odd_bids_base_bid_cpm,
    odd_bids_domain_multiplier,
    odd_bids_npi_multiplier,
    odd_bids_floor_cpm,
    odd_views_cost_cpm,
    odd_views_revenue,
    odd_clicks_revenue
FROM bid_totals
CROSS JOIN view_totals
CROSS JOIN click_totals
CROSS JOIN orphan_totals
