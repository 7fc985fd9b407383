run_id = %(run_id)s
    {% if 'iteration' in asked %}
    AND iteration = %(iteration)s
    {% endif %}
    {% if 'is_correct' in asked %}
    AND is_correct = %(is_correct)s
    {% endif %}
