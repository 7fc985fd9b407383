"""The object-store adapter: a run's files on S3 and the manifest that makes them a run."""
