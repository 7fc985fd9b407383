DROP FUNCTION optimization_find_named_runs(text, text, integer);
DROP INDEX idx_optimization_runs_search_name;
ALTER TABLE optimization_runs DROP COLUMN search_name;
DROP FUNCTION optimization_fold(text);
