-- Figures of a project's runs by optimizer type and status, as of the last refresh.
-- Grain: one row an optimizer type and status. Parameters: project_id, row_limit; optimizer_type, status (asked by these
-- names); after_type and after_status (asked: after).
SELECT *
FROM optimization_analytics
WHERE project_id = %(project_id)s
    {% if 'optimizer_type' in asked %}
    AND optimizer_type = %(optimizer_type)s
    {% endif %}
    {% if 'status' in asked %}
    AND status = %(status)s
    {% endif %}
    {% if 'after' in asked %}
    AND (optimizer_type, status) > (%(after_type)s, %(after_status)s)
    {% endif %}
ORDER BY optimizer_type, status
LIMIT %(row_limit)s
