-- A page of a project's runs in the order of one column and the id, NULLs last, as many as fit into max_bytes.
-- Grain: one row a run.
-- Parameters: project_id, row_limit, row_offset, max_bytes; those of the conditions asked for (_run_conditions.sql);
-- after_value and after_id where the page follows a row (asked: after_value, or after_null where that row's value is NULL).
-- Template: column and way (ASC, DESC). Both parts read their index in order and stop at the limit; the second, rows
-- without a value, is read only where the first does not fill the page.
{% from '_pages.sql' import fitting %}
{% set compare = '>' if way == 'ASC' else '<' %}
{% set order = column ~ ' IS NULL, ' ~ column ~ ' ' ~ way ~ ', id ' ~ way %}
{% call fitting(order) %}
{% if column == 'created_at' %}
SELECT {% include '_run_columns.sql' %}
FROM optimization_runs
WHERE {% include '_run_conditions.sql' %}
    {% if 'after_value' in asked %}
    AND (created_at, id) {{ compare }} (%(after_value)s, %(after_id)s)
    {% endif %}
ORDER BY created_at {{ way }}, id {{ way }}
{% elif 'after_null' in asked %}
SELECT {% include '_run_columns.sql' %}
FROM optimization_runs
WHERE {{ column }} IS NULL
    AND {% include '_run_conditions.sql' %}
    AND id {{ compare }} %(after_id)s
ORDER BY {{ column }} {{ way }}, id {{ way }}
{% else %}
WITH valued AS MATERIALIZED (
    SELECT {% include '_run_columns.sql' %}
    FROM optimization_runs
    WHERE {{ column }} IS NOT NULL
        AND {% include '_run_conditions.sql' %}
        {% if 'after_value' in asked %}
        AND ({{ column }}, id) {{ compare }} (%(after_value)s, %(after_id)s)
        {% endif %}
    ORDER BY {{ column }} {{ way }}, id {{ way }}
    LIMIT %(row_limit)s + %(row_offset)s
),
valueless AS (
    SELECT {% include '_run_columns.sql' %}
    FROM optimization_runs
    WHERE {{ column }} IS NULL
        AND {% include '_run_conditions.sql' %}
        AND (SELECT count(*) FROM valued) < %(row_limit)s + %(row_offset)s
    ORDER BY {{ column }} {{ way }}, id {{ way }}
    LIMIT %(row_limit)s + %(row_offset)s
)
SELECT * FROM (SELECT * FROM valued UNION ALL SELECT * FROM valueless) AS both_parts
ORDER BY {{ order }}
{% endif %}
LIMIT %(row_limit)s OFFSET %(row_offset)s
{% endcall %}
