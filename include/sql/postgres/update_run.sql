-- A run with some columns changed, as it stands afterwards.
-- Grain: one row; none where the run is not there, its status is not one of from_statuses, or, where `seen` is asked, its
-- updated_at is not one of seen.
-- Parameters: run_id, from_statuses, seen, one a changed column; metadata is a JSON merge patch. Template: asked, the
-- changed columns, and what a new status brings with it: begins (the start time), ends (the end time), unless given. An
-- end before the start is of a clock that was set back: it is kept as stated, and this server's clock ends the run; said
-- again, it changes nothing.
-- if_unowned: only where no process holds a lease of the run.
{% set start_time = '%(start_time)s::timestamptz' if 'start_time' in asked else 'start_time' %}
UPDATE optimization_runs
SET
    {% for column in asked | reject('in', ['begins', 'end_time', 'ends', 'if_unowned', 'metadata', 'seen']) | sort %}
    {{ column }} = %({{ column }})s,
    {% endfor %}
    {% if 'metadata' in asked %}
    metadata = optimization_merge_patch(metadata, %(metadata)s),
    {% endif %}
    {% if 'begins' in asked and 'start_time' not in asked %}
    start_time = coalesce(start_time, now()),
    {% endif %}
    {% if 'end_time' in asked %}
    end_time = CASE
        WHEN %(end_time)s::timestamptz < {{ start_time }} THEN greatest(
            CASE WHEN status IN ('pending', 'running') OR end_time IS NULL THEN now() ELSE end_time END,
            {{ start_time }}
        )
        ELSE %(end_time)s
    END,
    stated_end_time = CASE WHEN %(end_time)s::timestamptz < {{ start_time }} THEN %(end_time)s END,
    {% endif %}
    {% if 'ends' in asked %}
    {% set end_time = '%(end_time)s' if 'end_time' in asked else 'end_time' %}
    {% if 'end_time' not in asked %}
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
    {% if 'if_unowned' in asked %}
    AND NOT EXISTS (
        SELECT FROM optimization_run_leases AS lease
        WHERE lease.run_id = optimization_runs.id AND lease.expires_at > now()
    )
    {% endif %}
    {% if 'seen' in asked %}
    AND updated_at = ANY (%(seen)s)
    {% endif %}
RETURNING {% include '_run_columns.sql' %}
