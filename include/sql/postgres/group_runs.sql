-- Groups of runs with the spread of one figure, and their differences to a baseline over pairs of runs.
-- Grain: one row a group, the best mean first; its groups, all_runs, keyless, valueless, judged are of all groups.
-- Parameters: project_id, row_limit, run_cap, those of the conditions; direction_is, metric_is (the runs whose scores mean
-- the same); baseline (NULL: the group with the oldest run); min_pairs (of fewer, groups are not judged); group_path,
-- pair_path, figure_path, name_pattern where the template has them.
-- Template: figure, figure_column, group, group_column, pair, pair_column; way (ASC where low is good); completed
-- ('yes': only completed runs have a value).
WITH runs AS MATERIALIZED (
    SELECT
        {% if group == 'tag' %}
        tags,
        {% else %}
        {% set kind = group %}{% set column = group_column %}{% set prefix = 'group' %}
        {% include '_group_key.sql' %} AS key,
        {% endif %}
        {% if group == 'json' %}
        CASE
            WHEN length({{ group_column }} #>> %(group_path)s::text[]) <= 300 THEN {{ group_column }} #> %(group_path)s::text[]
        END AS json_key,
        {% endif %}
        {% set kind = pair %}{% set column = pair_column %}{% set prefix = 'pair' %}
        {% include '_group_key.sql' %} AS pair,
        {% if completed == 'yes' %}
        CASE WHEN status = 'completed' THEN {% include '_figure.sql' %} END AS value,
        {% else %}
        {% include '_figure.sql' %} AS value,
        {% endif %}
        status,
        created_at
    FROM optimization_runs
    WHERE {% include '_run_conditions.sql' %}
        AND direction = %(direction_is)s
        AND metric IS NOT DISTINCT FROM %(metric_is)s
    ORDER BY created_at DESC, id DESC
    LIMIT %(run_cap)s
),
chosen AS (
    {% if group == 'tag' %}
    SELECT tag AS key, pair, value, status, created_at FROM runs LEFT JOIN LATERAL unnest(tags) AS tag ON true
    {% else %}
    SELECT * FROM runs
    {% endif %}
),
sums AS (
    SELECT
        key,
        count(*)           AS runs,
        count(value)       AS n,
        avg(value)         AS mean,
        stddev_samp(value) AS sd,
        min(value)         AS lowest,
        max(value)         AS highest,
        min(created_at)    AS first_run_at,
        max(created_at)    AS last_run_at,
        {% if group == 'json' %}
        (array_agg(json_key ORDER BY created_at DESC))[1] AS json_key,
        {% endif %}
        jsonb_build_object(
            'pending', count(*) FILTER (WHERE status = 'pending'),
            'running', count(*) FILTER (WHERE status = 'running'),
            'completed', count(*) FILTER (WHERE status = 'completed'),
            'failed', count(*) FILTER (WHERE status = 'failed'),
            'cancelled', count(*) FILTER (WHERE status = 'cancelled')
        )                  AS states
    FROM chosen
    WHERE key IS NOT NULL
    GROUP BY key
),
base AS (
    SELECT coalesce(
        %(baseline)s::text,
        (SELECT key FROM sums WHERE n > 0 ORDER BY first_run_at, key LIMIT 1)
    ) AS baseline
),
paired AS (
    {% if pair == 'none' %}
    SELECT NULL::text AS key, NULL::double precision AS value, NULL::double precision AS base_value WHERE false
    {% else %}
    -- The baseline's value of the same pair by a window: a join would be slow where its size is misjudged.
    SELECT
        key,
        avg(value) AS value,
        max(avg(value)) FILTER (WHERE key = (SELECT baseline FROM base)) OVER (PARTITION BY pair) AS base_value
    FROM chosen
    WHERE key IS NOT NULL AND pair IS NOT NULL AND value IS NOT NULL
    GROUP BY key, pair
    {% endif %}
),
differences AS (
    SELECT
        key,
        count(*)                        AS pairs,
        avg(value - base_value)         AS mean_difference,
        stddev_samp(value - base_value) AS sd_difference
    FROM paired
    WHERE base_value IS NOT NULL AND key <> (SELECT baseline FROM base)
    GROUP BY key
)
SELECT
    sums.*,
    base.baseline,
    differences.pairs,
    differences.mean_difference,
    differences.sd_difference,
    count(*) OVER ()                                AS groups,
    sum((differences.pairs >= %(min_pairs)s)::integer) OVER () AS judged,
    (SELECT count(*) FROM runs)                     AS all_runs,
    (SELECT count(*) FROM chosen WHERE key IS NULL) AS keyless,
    sum(sums.runs - sums.n) OVER ()                 AS valueless
FROM sums
CROSS JOIN base
LEFT JOIN differences USING (key)
ORDER BY mean {{ way }} NULLS LAST, key
LIMIT %(row_limit)s
