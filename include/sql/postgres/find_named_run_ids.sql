-- The ids of a project's runs that have the text in their name, at most row_cap of them; one NULL where the newest runs
-- alone fill a page with such names.
-- Grain: one row a run. Parameters: project_id, search, row_cap.
SELECT optimization_find_named_runs(%(project_id)s, %(search)s, %(row_cap)s)
