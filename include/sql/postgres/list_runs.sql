-- A page of a project's runs in the order of one column and the id, NULLs last.
-- Grain: one row a run.
-- Parameters: project_id, row_limit, row_offset; those of the conditions asked for (_run_conditions.sql); after_value and
-- after_id where the page follows a row (asked: after_value, or after_null where that row's value is NULL).
-- Template: column and way (ASC, DESC). Both parts read their index in order and stop at the limit: the second part,
-- rows without a value, only where the first does not fill the page.
{% set compare = '>' if way == 'ASC' else '<' %}
{% if column == 'created_at' %}
SELECT {% include '_run_columns.sql' %}
FROM optimization_runs
WHERE {% include '_run_conditions.sql' %}
    {% if 'after_value' in asked %}
    AND (created_at, id) {{ compare }} (%(after_value)s, %(after_id)s)
    {% endif %}
ORDER BY created_at {{ way }}, id {{ way }}
LIMIT %(row_limit)s OFFSET %(row_offset)s
{% else %}
SELECT * FROM (
    {% if 'after_null' not in asked %}
    (
        SELECT {% include '_run_columns.sql' %}
        FROM optimization_runs
        WHERE {{ column }} IS NOT NULL
            AND {% include '_run_conditions.sql' %}
            {% if 'after_value' in asked %}
            AND ({{ column }}, id) {{ compare }} (%(after_value)s, %(after_id)s)
            {% endif %}
        ORDER BY {{ column }} {{ way }}, id {{ way }}
    )
    UNION ALL
    {% endif %}
    (
        SELECT {% include '_run_columns.sql' %}
        FROM optimization_runs
        WHERE {{ column }} IS NULL
            AND {% include '_run_conditions.sql' %}
            {% if 'after_null' in asked %}
            AND id {{ compare }} %(after_id)s
            {% endif %}
        ORDER BY {{ column }} {{ way }}, id {{ way }}
    )
) AS both_parts
LIMIT %(row_limit)s OFFSET %(row_offset)s
{% endif %}
