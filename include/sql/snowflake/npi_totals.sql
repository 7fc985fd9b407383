-- Totals of an entity's window by identified professional.
-- Grain: one row an NPI and UTC day. Days up to mature_dt, whose clicks have all arrived, are one row: the day of mature_dt.
-- If there are more than max_cells, the professionals with the most bids.
-- Bids that privacy restricts had no NPI multiplier and are left out.
-- Parameters: object_id, data_start_dt, data_end_dt (half open), recent_dt (multipliers count from here on), mature_dt, max_cells.
WITH {% include "_auctions.sql" %},
cells AS (
    SELECT
        npi,
        GREATEST(TO_DATE(bid_ts), TO_DATE(%(mature_dt)s))                           AS day,
{% set multiplier = "npi_multiplier" -%}
{% include "_multiplier_sums.sql" %}
{% include "_cell_sums.sql" %}
    FROM auctions
    WHERE npi IS NOT NULL AND npi <> ''
        {%- if "privacy" in bids_columns %}
        AND COALESCE(privacy, '') = ''
        {%- endif %}
    GROUP BY ALL
)
{% set key = "npi" -%}
{% include "_largest.sql" %}
ORDER BY npi, day
