-- One figure from run to run, with the spread of the runs before each.
-- Grain: one row a run, the newest first. Parameters: project_id, row_limit, those of the conditions; direction_is,
-- metric_is; figure_path where the template has it; band_runs, that many runs before one count. Template: figure,
-- figure_column; completed ('yes': only completed runs have a value);
-- metric ('none': NULL).
WITH valued AS MATERIALIZED (
    SELECT
        id, run_name, status, coalesce(start_time, created_at) AS at, {% include '_figure.sql' %} AS value
    FROM optimization_runs
    WHERE {% include '_run_conditions.sql' %}
        AND direction = %(direction_is)s
        AND metric {% if metric == 'none' %}IS NULL{% else %}= %(metric_is)s{% endif %}

        {% if completed == 'yes' %}
        AND status = 'completed'
        {% endif %}
    ORDER BY created_at DESC, id DESC
    LIMIT %(row_limit)s + %(band_runs)s
)
SELECT
    id AS run_id,
    run_name,
    status,
    at,
    value,
    count(value) OVER earlier       AS n,
    avg(value) OVER earlier         AS mean,
    stddev_samp(value) OVER earlier AS sd,
    count(value) OVER with_it       AS next_n,
    avg(value) OVER with_it         AS next_mean,
    stddev_samp(value) OVER with_it AS next_sd
FROM valued
WHERE value IS NOT NULL
WINDOW
    earlier AS (ORDER BY at, id ROWS BETWEEN %(band_runs)s PRECEDING AND 1 PRECEDING),
    with_it AS (ORDER BY at, id ROWS BETWEEN %(band_runs)s - 1 PRECEDING AND CURRENT ROW)
ORDER BY at DESC, id DESC
LIMIT %(row_limit)s
