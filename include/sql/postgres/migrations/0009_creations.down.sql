ALTER TABLE optimization_runs DROP COLUMN creation_key, DROP COLUMN creation_sha256;
