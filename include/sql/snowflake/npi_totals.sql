-- Totals of an entity's window by identified professional.
-- Grain: one row an NPI.
-- Parameters: object_id, data_start_dt, data_end_dt (half open).
WITH {% include "_auctions.sql" %}
SELECT
    npi,
{% include "_cell_sums.sql" %}
FROM auctions
WHERE npi IS NOT NULL AND npi <> ''
GROUP BY ALL
ORDER BY npi
