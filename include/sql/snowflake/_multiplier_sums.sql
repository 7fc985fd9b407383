{#- What a multiplier was on the latest days: the bids that had it, and the sum of its logs. Template: multiplier. -#}
    COUNT(IFF(bid_ts >= %(recent_dt)s AND {{ multiplier }} > 0, 1, NULL))                             AS multiplied_bids,
    COALESCE(SUM(IFF(bid_ts >= %(recent_dt)s AND {{ multiplier }} > 0, LN({{ multiplier }}), NULL)), 0) AS log_multiplier_sum,
