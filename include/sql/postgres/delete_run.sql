-- The id of a deleted run; its iterations and samples went with it.
-- Grain: one row; none where the caller may not see it or, where `seen` is asked, its updated_at is not one of seen.
-- Parameters: run_id, seen.
DELETE FROM optimization_runs
WHERE id = %(run_id)s
    {% if 'seen' in asked %}
    AND updated_at = ANY (%(seen)s)
    {% endif %}
RETURNING id
