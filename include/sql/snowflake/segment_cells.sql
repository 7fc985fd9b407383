-- Cells of an entity's window by candidate features.
-- Grain: one row a UTC day (a block of hours where `block_hours` is given), candidate features, bid price bucket, base bid price bucket and the run that priced the bids
-- (both NULL before an optimizer bid); on a coarser grain, several days or buckets are one (_segment_key.sql).
-- Empty text is NULL: a segment key spells both alike, so they must not be two segments.
-- Parameters: object_id, data_start_dt, data_end_dt (half open), bucket_width (log CPM), fine_from_dt. Template: features, column names; cells: [(features, grain)];
-- block_hours: a column block_hour, the UTC hour at which the bid's block of that many hours began (24 is a multiple of it);
-- shadow_percents: a column wins_at_<percent> for each, wins that this percentage of the bid would have won too. Only where
-- the winner pays the best rival's bid does the log tell.
{% from "_segment_key.sql" import finest_key, segment_key -%}
WITH {% include "_auctions.sql" %},
keyed AS (
    SELECT
    {{ finest_key(features, block_hours) }},
        is_won,
        is_clicked,
        bid_cpm,
        base_bid_cpm,
        floor_cpm,
        cost_cpm,
        view_revenue,
        click_revenue
    FROM auctions
)
SELECT
    {{ segment_key(features, cells[0][1], block_hours) }},
    {% for percent in shadow_percents -%}
    SUM(IFF(is_won = 1 AND cost_cpm <= bid_cpm * {{ percent }} / 100, 1, 0)) AS wins_at_{{ percent }},
    {% endfor -%}
{% include "_cell_sums.sql" %}
FROM keyed
GROUP BY ALL
ORDER BY day, {% if block_hours %}block_hour, {% endif %}{% for feature in features %}{{ feature }}, {% endfor %}price_bucket, base_price_bucket, run_id
