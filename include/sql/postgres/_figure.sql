{% if figure == 'json' %}
CASE
    WHEN jsonb_typeof({{ figure_column }} #> %(figure_path)s::text[]) = 'number'
        AND abs(({{ figure_column }} #>> %(figure_path)s::text[])::numeric) <= 1e100
    THEN ({{ figure_column }} #>> %(figure_path)s::text[])::double precision
END
{% else %}
{{ figure }}::double precision
{% endif %}
