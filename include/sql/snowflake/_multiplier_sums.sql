{#- What the multipliers of earlier runs were, on the latest days: the bids that had any, and the sum of their logs. -#}
    COUNT(IFF(bid_ts >= %(recent_dt)s AND base_bid_cpm > 0, 1, NULL))                             AS multiplied_bids,
    COALESCE(SUM(IFF(bid_ts >= %(recent_dt)s AND base_bid_cpm > 0, LN(bid_cpm / base_bid_cpm), NULL)), 0) AS log_multiplier_sum,
