{% if kind == 'json' %}
left({{ column }} #>> %({{ prefix }}_path)s::text[], 300)
{% elif kind == 'name' and prefix == 'group' %}
substring(run_name FROM %(name_pattern)s)
{% elif kind == 'name' %}
run_name
{% elif kind == 'type' %}
optimizer_type
{% elif kind == 'status' %}
status
{% elif kind == 'day' %}
to_char(coalesce(start_time, created_at) AT TIME ZONE 'UTC', 'YYYY-MM-DD')
{% else %}
NULL::text
{% endif %}
