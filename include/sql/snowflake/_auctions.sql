{#- Shared by the cell queries: one row an auction of the entities' windows, with its view and its click.

    Bids of tests are left out. Duplicated rows count once (the earliest), zero bids not at all, and a click needs a view. Views and clicks may be
    later than the window's end: what counts is when the bid was made. -#}
auctions AS (
    SELECT
        bids.*,
        IFF(views.bid_id IS NULL, 0, 1)                                AS is_won,
        IFF(views.bid_id IS NULL OR clicks.bid_id IS NULL, 0, 1)       AS is_clicked,
        views.cost_cpm                                                 AS cost_cpm,
        views.revenue                                                  AS view_revenue,
        IFF(views.bid_id IS NULL, NULL, clicks.revenue)                AS click_revenue,
        views.view_ts                                                  AS view_ts,
        clicks.click_ts                                                AS click_ts
    FROM (
        SELECT *
        FROM BIDS
        WHERE object_id IN (%(object_ids)s)
            AND bid_ts >= %(data_start_dt)s{%- if starts %}
            AND bid_ts >= {% include "_own_start.sql" %}
            {%- endif %}
            AND bid_ts < %(data_end_dt)s
            AND bid_cpm > 0
            {%- if "is_test" in bids_columns %}
            AND NOT COALESCE(is_test, FALSE)
            {%- endif %}
        QUALIFY ROW_NUMBER() OVER (PARTITION BY object_id, bid_id ORDER BY bid_ts) = 1
    ) AS bids
    LEFT JOIN (
        SELECT bid_id, view_ts, cost_cpm, revenue
        FROM VIEWS
        WHERE view_ts >= %(data_start_dt)s
        QUALIFY ROW_NUMBER() OVER (PARTITION BY bid_id ORDER BY view_ts, cost_cpm) = 1
    ) AS views ON views.bid_id = bids.bid_id
    LEFT JOIN (
        SELECT bid_id, click_ts, revenue
        FROM CLICKS
        WHERE click_ts >= %(data_start_dt)s
        QUALIFY ROW_NUMBER() OVER (PARTITION BY bid_id ORDER BY click_ts, revenue) = 1
    ) AS clicks ON clicks.bid_id = bids.bid_id
)
