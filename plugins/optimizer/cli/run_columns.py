"""The columns of opt_runs that are shown to users, in order."""

_RESULTS = (
    "total_bids",
    "total_views",
    "total_clicks",
    "total_segments",
    "segments_count",
    "segments_in_memcache",
    "domains_count",
    "npis_count",
    "features_used",
    "bid_median",
    "bid_min",
    "bid_max",
    "s3_output_path",
)

RUN_NUMBERS = ("run_id", "status", "validation_status", *_RESULTS)
"""What the demo's table shows."""

RUN_FACTS = (
    "run_id",
    "run_code",
    "status",
    "is_dry_run",
    "validation_status",
    "validation_warnings",
    "triggered_by",
    "trigger_type",
    "data_start_dt",
    "data_end_dt",
    *_RESULTS,
    "error_message",
    "created_at",
    "started_at",
    "completed_at",
    "outputs_removed_at",
)
"""What `optimizer show` shows."""
