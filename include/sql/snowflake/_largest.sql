{#- The cells of the values with the most bids, as long as they are at most max_cells together. Template: key, the column. -#}
SELECT cells.*
FROM cells
INNER JOIN (
    SELECT {{ key }}
    FROM (
        SELECT {{ key }}, COUNT(*) AS own_cells, SUM(bids) AS own_bids
        FROM cells
        GROUP BY {{ key }}
    ) AS sizes
    QUALIFY SUM(own_cells) OVER (ORDER BY own_bids DESC, {{ key }} ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) <= %(max_cells)s
) AS largest ON largest.{{ key }} = cells.{{ key }}
