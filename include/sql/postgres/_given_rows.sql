{# The rows of a request, from its columns: each is NULL, where no row has the value, or the rows' values in their order.
   `array`: an array's text. `json`: a JSON array, of which null is no value. #}
{% macro array(name, type) %}unnest(%({{ name }})s::{{ type }}[]){% endmacro %}
{% macro json(name) %}jsonb_array_elements(%({{ name }})s::jsonb){% endmacro %}
{% macro texts(name) %}jsonb_array_elements_text(%({{ name }})s::jsonb){% endmacro %}
