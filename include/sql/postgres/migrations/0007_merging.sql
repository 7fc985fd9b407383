-- A JSON merge patch (RFC 7396), so that two callers that change different keys of a run's metadata keep both changes;
-- and an updated_at that differs after each change, so that it can say which version of a run a caller has seen.

CREATE FUNCTION optimization_merge_patch(target jsonb, patch jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    IF jsonb_typeof(patch) <> 'object' THEN
        RETURN patch;
    END IF;
    IF target IS NULL OR jsonb_typeof(target) <> 'object' THEN
        target := '{}';
    END IF;
    RETURN coalesce(
        (
            SELECT jsonb_object_agg(
                key,
                CASE WHEN new.value IS NULL THEN old.value ELSE optimization_merge_patch(old.value, new.value) END
            )
            FROM jsonb_each(target) AS old
            FULL JOIN jsonb_each(patch) AS new USING (key)
            WHERE new.value IS NULL OR jsonb_typeof(new.value) <> 'null'
        ),
        '{}'
    );
END
$$;

CREATE OR REPLACE FUNCTION update_optimization_runs_updated_at() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at := greatest(now(), OLD.updated_at + interval '1 microsecond');
    RETURN NEW;
END
$$;
