-- The id of a deleted run; its iterations and samples went with it.
-- Grain: one row, or none where the caller may not see it. Parameters: run_id.
DELETE FROM optimization_runs WHERE id = %(run_id)s RETURNING id
