-- Groups of runs with the spread of one figure, and their differences to a baseline over pairs of runs.
-- Grain: one row a group, the best mean first; its groups, keyless, valueless, judged are of all groups.
-- Parameters: project_id, row_limit, run_cap, those of the conditions; direction_is, metric_is (the runs whose scores mean
-- the same); baseline (NULL: the group with the oldest run); min_pairs (of fewer, groups are not judged); group_path,
-- pair_path, figure_path, name_pattern where the template has them.
-- Template: figure, figure_column, group, group_column, pair, pair_column; way (ASC where low is good); completed
-- ('yes': only completed runs have a value); capped ('yes': more runs match than run_cap); metric ('none': NULL).
--
-- Each aggregate reads the table itself, in parallel: one pass that keeps the runs for both would be serial, and on disk.
WITH runs AS NOT MATERIALIZED (
    SELECT
        {% if group == 'tag' %}
        tags,
        {% else %}
        {% set kind = group %}{% set column = group_column %}{% set prefix = 'group' %}
        {% include '_group_key.sql' %} AS key,
        {% endif %}
        {% if group == 'json' %}
        jsonb_typeof({{ group_column }} #> %(group_path)s::text[]) = 'string' AS is_text,
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
        AND metric {% if metric == 'none' %}IS NULL{% else %}= %(metric_is)s{% endif %}

    {% if capped == 'yes' %}
    ORDER BY created_at DESC, id DESC
    LIMIT %(run_cap)s
    {% endif %}
),
chosen AS NOT MATERIALIZED (
    {% if group == 'tag' %}
    SELECT tag COLLATE "C" AS key, pair, value, status, created_at
    FROM runs LEFT JOIN LATERAL unnest(tags) AS tag ON true
    {% else %}
    SELECT * FROM runs
    {% endif %}
),
every AS MATERIALIZED (
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
        bool_or(is_text)   AS is_text,
        {% endif %}
        count(*) FILTER (WHERE status = 'pending')   AS pending,
        count(*) FILTER (WHERE status = 'running')   AS running,
        count(*) FILTER (WHERE status = 'completed') AS completed,
        count(*) FILTER (WHERE status = 'failed')    AS failed,
        count(*) FILTER (WHERE status = 'cancelled') AS cancelled
    FROM chosen
    GROUP BY key
),
sums AS (
    SELECT * FROM every WHERE key IS NOT NULL
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
    coalesce((SELECT runs FROM every WHERE key IS NULL), 0) AS keyless,
    sum(sums.runs - sums.n) OVER ()                 AS valueless
FROM sums
CROSS JOIN base
LEFT JOIN differences USING (key)
ORDER BY mean {{ way }} NULLS LAST, key
LIMIT %(row_limit)s
