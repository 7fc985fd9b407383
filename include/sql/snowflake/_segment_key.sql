{#- The key of a segment cell on a grain (optimizer.core.landscape.grain): days, features, price buckets and run.

    Days before fine_from_dt may have wider price buckets, no base buckets and runs, and be merged: block b of older_days days, counted back
    from fine_from_dt, has the day in its middle and day_span, the number of its days.
    Parameters: bucket_width (log CPM); data_start_dt, fine_from_dt, where the grain is coarser for older days. -#}
{%- macro bucket(price, size) -%}
{% if size == 1 %}{{ price }}{% else %}ROUND({{ price }} / {{ size }}) * {{ size }}{% endif %}
{%- endmacro -%}

{%- macro by_age(older, latest) -%}
{% if older == latest %}{{ latest }}{% else %}IFF(bid_day < TO_DATE(%(fine_from_dt)s), {{ older }}, {{ latest }}){% endif %}
{%- endmacro -%}

{%- macro segment_key(features, grain, block_hours) -%}
{% set block = "CEIL(DATEDIFF(day, bid_day, TO_DATE(%(fine_from_dt)s)) / " ~ grain.older_days ~ ")" -%}
{% if grain.older_days == 1 -%}
    bid_day AS day,
{% else -%}
    {{ by_age("GREATEST(DATEADD(day, " ~ grain.older_days // 2 ~ " - " ~ grain.older_days ~ " * " ~ block ~ ", TO_DATE(%(fine_from_dt)s)), TO_DATE(%(data_start_dt)s))", "bid_day") }} AS day,
    {{ by_age("LEAST(" ~ grain.older_days ~ ", DATEDIFF(day, TO_DATE(%(data_start_dt)s), TO_DATE(%(fine_from_dt)s)) - " ~ grain.older_days ~ " * (" ~ block ~ " - 1))", "1") }} AS day_span,
{% endif -%}
{% if block_hours -%}
    block_hour,
{% endif -%}
{% for feature in features -%}
    {{ feature }},
{% endfor -%}
{% set older_price = bucket("bid_bucket", grain.older_price_buckets) -%}
    {{ by_age(older_price, bucket("bid_bucket", grain.price_buckets)) }} AS price_bucket,
    {{ by_age("IFF(base_bucket IS NULL, NULL, " ~ older_price ~ ")" if grain.is_older_coarse else bucket("base_bucket", grain.base_buckets), bucket("base_bucket", grain.base_buckets)) }} AS base_price_bucket,
    {{ by_age("NULL" if grain.is_older_coarse else "bid_run_id", "bid_run_id") }} AS run_id
{%- endmacro -%}

{#- The columns that `segment_key` is made of. -#}
{%- macro finest_key(features, block_hours) -%}
    TO_DATE(bid_ts) AS bid_day,
{% if block_hours -%}
    FLOOR(HOUR(bid_ts) / {{ block_hours }}) * {{ block_hours }} AS block_hour,
{% endif -%}
{% for feature in features -%}
    NULLIF(CAST({{ feature }} AS VARCHAR), '') AS {{ feature }},
{% endfor -%}
    ROUND(LN(bid_cpm) / %(bucket_width)s) AS bid_bucket,
    ROUND(LN(NULLIF(GREATEST(base_bid_cpm, 0), 0)) / %(bucket_width)s) AS base_bucket,
    run_id AS bid_run_id
{%- endmacro -%}
