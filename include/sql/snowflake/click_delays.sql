-- How long after its view a click came, and how old the views were when the log ended.
-- Grain: one row an object, a UTC day of the bid, whole hours of the view's age, and whole hours from view to click (NULL without a click).
-- The log ends with its latest view or click of any entity: VIEWS and CLICKS are loaded up to the same time. Events dated
-- after now_dt, the time of reading, have a wrong date and do not move that end. Ages and delays from longest_hours on are
-- longest_hours. A click before its view came at once.
-- Parameters: object_ids, data_start_dt, data_end_dt (half open), now_dt, longest_hours.
WITH {% include "_auctions.sql" %},
latest_events AS (
    SELECT MAX(view_ts) AS event_ts FROM VIEWS WHERE view_ts >= %(data_start_dt)s AND view_ts <= %(now_dt)s
    UNION ALL
    SELECT MAX(click_ts) AS event_ts FROM CLICKS WHERE click_ts >= %(data_start_dt)s AND click_ts <= %(now_dt)s
),
log_end AS (
    SELECT MAX(event_ts) AS log_end_ts FROM latest_events
)
SELECT
    object_id,
    TO_DATE(bid_ts)                                                                         AS day,
    LEAST(GREATEST(FLOOR(DATEDIFF(second, view_ts, log_end_ts) / 3600), 0), %(longest_hours)s) AS age_hours,
    LEAST(GREATEST(FLOOR(DATEDIFF(second, view_ts, click_ts) / 3600), 0), %(longest_hours)s) AS delay_hours,
    COUNT(*)                                                                              AS views
FROM auctions
CROSS JOIN log_end
WHERE is_won = 1
GROUP BY ALL
ORDER BY object_id, day, age_hours, delay_hours
