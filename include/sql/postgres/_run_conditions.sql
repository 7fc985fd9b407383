project_id = %(project_id)s
    {% if 'one_status' in asked %}
    AND status = %(one_status)s
    {% endif %}
    {% if 'statuses' in asked %}
    AND status = ANY (%(statuses)s)
    {% endif %}
    {% if 'one_type' in asked %}
    AND optimizer_type = %(one_type)s
    {% endif %}
    {% if 'types' in asked %}
    AND optimizer_type = ANY (%(types)s)
    {% endif %}
    {% if 'direction' in asked %}
    AND direction = %(direction)s
    {% endif %}
    {% if 'metric' in asked %}
    AND metric = %(metric)s
    {% endif %}
    {% if 'min_score' in asked %}
    AND final_score >= %(min_score)s
    {% endif %}
    {% if 'max_score' in asked %}
    AND final_score <= %(max_score)s
    {% endif %}
    {% if 'start_date' in asked %}
    AND created_at >= %(start_date)s
    {% endif %}
    {% if 'end_date' in asked %}
    AND created_at < %(end_date)s
    {% endif %}
    {% if 'search' in asked %}
    AND strpos(search_name, (SELECT optimization_fold(%(search)s::text))) > 0
    {% endif %}
    {% if 'run_name' in asked %}
    AND run_name = %(run_name)s
    {% endif %}
    {% if 'ids' in asked %}
    AND id = ANY (%(ids)s)
    {% endif %}
    {% if 'config' in asked %}
    AND config @> %(config)s
    {% endif %}
    {% if 'metadata' in asked %}
    AND metadata @> %(metadata)s
    {% endif %}
    {% if 'tags' in asked %}
    AND tags @> %(tags)s
    {% endif %}
