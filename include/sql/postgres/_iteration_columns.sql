it.id, it.run_id, it.iteration, it.score, it.iteration IS NOT DISTINCT FROM run.best_iteration AS is_best, it.params,
it.program, it.samples_in_iteration, it.successful_samples, it.avg_score, it.std_dev, it.iteration_start_time,
it.iteration_end_time, it.duration_ms, it.tokens_used, it.cost_usd, it.metadata, it.created_at, it.bytes
