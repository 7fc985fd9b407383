{# Of the rows of a page those that fit into max_bytes together, in their order; the first one always, where keep_first.
   Each counts as its JSON and texts, and 1,024 bytes for all else. `found`: how many rows there were before the cut. #}
{% macro fitting(order, keep_first=true) %}
SELECT * FROM (
    SELECT
        page.*,
        count(*) OVER () AS found,
        sum(bytes + 1024) OVER (ORDER BY {{ order }} ROWS UNBOUNDED PRECEDING) AS bytes_so_far
    FROM (
{{ caller() }}
    ) AS page
) AS measured
WHERE bytes_so_far <= %(max_bytes)s{% if keep_first %} OR bytes_so_far = bytes + 1024{% endif %}

ORDER BY {{ order }}
{% endmacro %}
