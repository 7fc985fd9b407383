-- The id of a run that is deleted from now on: it and its rows are seen no more, and removed later. The key that made it is
-- free.
-- Grain: one row; none where the caller may not see it or, where `seen` is asked, its updated_at is not one of seen.
-- Parameters: run_id, seen.
WITH run AS (
    UPDATE optimization_runs SET creation_key = NULL
    WHERE id = %(run_id)s
        {% if 'seen' in asked %}
        AND updated_at = ANY (%(seen)s)
        {% endif %}
    RETURNING project_id, id
)
INSERT INTO optimization_deleted_runs (project_id, run_id)
SELECT project_id, id FROM run
ON CONFLICT (project_id, run_id) DO NOTHING
RETURNING run_id
