id, project_id, run_name, optimizer_type, status, direction, config, start_time, end_time, duration_ms, initial_score,
final_score, best_score, improvement, improvement_pct, iterations, samples_evaluated, successful_samples, failed_samples,
total_tokens, total_cost_usd, avg_latency_ms, best_program, final_program, evaluation_results, error_message, error_stack,
metadata, tags, created_at, updated_at, stated_end_time, metric, best_iteration, iterations_stored, samples_stored, bytes
