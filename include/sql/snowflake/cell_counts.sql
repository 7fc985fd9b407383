-- How many cells an entity's window has by some features on some grains.
-- Grain: one row; column cells_<n> is the number of cells of the n-th of the counted grains.
-- Only BIDS is read, once: a cell has at least one bid. A bid that is there twice counts on the day of each.
-- Parameters: object_id, data_start_dt, data_end_dt (half open), bucket_width (log CPM), fine_from_dt. Template: features: all that are asked
-- for; cells: (features, grain) of each number; block_hours, as in segment_cells.sql.
{% from "_segment_key.sql" import finest_key, segment_key -%}
WITH finest AS (
    SELECT DISTINCT
    {{ finest_key(features, block_hours) }}
    FROM BIDS
    WHERE object_id = %(object_id)s
        AND bid_ts >= %(data_start_dt)s
        AND bid_ts < %(data_end_dt)s
        AND bid_cpm > 0
        {%- if "is_test" in bids_columns %}
        AND NOT COALESCE(is_test, FALSE)
        {%- endif %}
)
SELECT
{%- for own_features, grain in cells %}
    (SELECT COUNT(*) FROM (SELECT DISTINCT {{ segment_key(own_features, grain, block_hours) }} FROM finest) AS counted_{{ loop.index0 }}) AS cells_{{ loop.index0 }}{{ "," if not loop.last }}
{%- endfor %}
