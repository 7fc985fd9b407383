-- Iterations added to a run, by a statement that is a transaction of its own where none was begun.
-- Grain: one row an iteration (asked: rows), as many as fit into max_bytes (asked: cut); or none that has a column.
-- Parameters: projects and actor, as begin_as.sql has them; run_id; for each name of the API a column: an array's text, of
-- JSON a JSON array, or NULL where no iteration has a value.
{% from '_pages.sql' import fitting %}
{% macro add(with_rows) %}
optimization_add_iterations(
    %(projects)s, %(actor)s, %(run_id)s, {{ with_rows }}, %(iteration)s, %(score)s, %(params)s, %(program)s,
    %(samplesInIteration)s, %(successfulSamples)s, %(avgScore)s, %(stdDev)s, %(iterationStartTime)s, %(iterationEndTime)s,
    %(durationMs)s, %(tokensUsed)s, %(costUsd)s, %(metadata)s
)
{%- endmacro %}
{% macro rows() %}
SELECT {% include '_iteration_columns.sql' %}
FROM {{ add('true') }} AS run
CROSS JOIN LATERAL (SELECT (run.added).*) AS it
{% endmacro %}
{% if 'cut' in asked %}
{% call fitting('iteration') %}
{{ rows() }}
{% endcall %}
{% elif 'rows' in asked %}
{{ rows() }}
{% else %}
SELECT FROM {{ add('false') }}
{% endif %}
