{#- The counts and sums of a cell; the columns of optimizer.core.landscape.cells. -#}
    COUNT(*)                        AS bids,
    SUM(is_won)                     AS wins,
    SUM(is_clicked)                 AS clicks,
    SUM(bid_cpm)                    AS bid_cpm_sum,
    SUM(base_bid_cpm)               AS base_bid_cpm_sum,
    COALESCE(SUM(cost_cpm), 0)      AS cost_cpm_sum,
    COALESCE(SUM(view_revenue), 0)  AS view_revenue,
    COALESCE(SUM(click_revenue), 0) AS click_revenue,
    MAX(floor_cpm)                  AS floor_cpm_max
