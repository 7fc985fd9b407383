{# What a run is grouped or paired by; compared as bytes, which is faster than by the database's language. #}
{% if kind == 'json' %}
left({{ column }} #>> %({{ prefix }}_path)s::text[], 300) COLLATE "C"
{% elif kind == 'name' and prefix == 'group' %}
substring(run_name FROM %(name_pattern)s) COLLATE "C"
{% elif kind == 'name' %}
run_name COLLATE "C"
{% elif kind == 'type' %}
optimizer_type COLLATE "C"
{% elif kind == 'status' %}
status COLLATE "C"
{% elif kind == 'day' and prefix == 'pair' %}
(coalesce(start_time, created_at) AT TIME ZONE 'UTC')::date
{% elif kind == 'day' %}
to_char(coalesce(start_time, created_at) AT TIME ZONE 'UTC', 'YYYY-MM-DD') COLLATE "C"
{% else %}
NULL::text
{% endif %}
