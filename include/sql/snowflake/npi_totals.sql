-- Totals of an entity's window by identified professional.
-- Grain: one row an NPI.
-- Parameters: object_id, data_start_dt, data_end_dt (half open), recent_dt (multipliers count from here on).
WITH {% include "_auctions.sql" %}
SELECT
    npi,
{% set multiplier = "npi_multiplier" -%}
{% include "_multiplier_sums.sql" %}
{% include "_cell_sums.sql" %}
FROM auctions
WHERE npi IS NOT NULL AND npi <> ''
GROUP BY ALL
ORDER BY npi
