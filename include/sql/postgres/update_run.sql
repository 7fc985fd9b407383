-- A run with some columns changed, as it stands afterwards.
-- Grain: one row; none where the run is not there, its status is not one of from_statuses, or, where `seen` is asked, its
-- updated_at is not one of seen.
-- Parameters: run_id, from_statuses, seen, one a changed column; metadata is a JSON merge patch. Template: asked, the
-- changed columns, and what a new status brings with it: begins (the start time), ends (the end time), unless given.
UPDATE optimization_runs
SET
    {% for column in asked | reject('in', ['begins', 'ends', 'metadata', 'seen']) | sort %}
    {{ column }} = %({{ column }})s,
    {% endfor %}
    {% if 'metadata' in asked %}
    metadata = optimization_merge_patch(metadata, %(metadata)s),
    {% endif %}
    {% if 'begins' in asked and 'start_time' not in asked %}
    start_time = coalesce(start_time, now()),
    {% endif %}
    {% if 'ends' in asked %}
    {% set end_time = '%(end_time)s' if 'end_time' in asked else 'end_time' %}
    {% if 'end_time' not in asked %}
    {% set start_time = '%(start_time)s' if 'start_time' in asked else 'start_time' %}
    end_time = CASE
        WHEN status IN ('pending', 'running') THEN coalesce(end_time, greatest(now(), {{ start_time }})) ELSE end_time
    END,
    {% endif %}
    {% if 'start_time' not in asked %}
    start_time = coalesce(start_time, least(created_at, {{ end_time }})),
    {% endif %}
    {% endif %}
    updated_at = now()
WHERE id = %(run_id)s
    AND status = ANY (%(from_statuses)s)
    {% if 'seen' in asked %}
    AND updated_at = ANY (%(seen)s)
    {% endif %}
RETURNING {% include '_run_columns.sql' %}
