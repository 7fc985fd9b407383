-- What each run's bids brought, day by day.
-- Grain: one row an object, a UTC day and the run that priced the bids; bids that no run priced are left out.
-- Money is currency units. A bid is won once and clicked at most once; its view and its click count on the day of the bid,
-- however late they are.
-- Parameters: object_ids, data_start_dt, data_end_dt (half open).
WITH {% include "_auctions.sql" %}
SELECT
    object_id,
    TO_DATE(bid_ts)                    AS day,
    run_id,
    COUNT(*)                           AS bids,
    SUM(is_won)                        AS wins,
    SUM(is_clicked)                    AS clicks,
    COALESCE(SUM(cost_cpm), 0) / 1000  AS spend,
    COALESCE(SUM(view_revenue), 0)     AS view_revenue,
    COALESCE(SUM(click_revenue), 0)    AS click_revenue
FROM auctions
WHERE run_id IS NOT NULL
GROUP BY ALL
ORDER BY object_id, day, run_id
