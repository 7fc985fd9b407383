"""Development tools: simulated markets, evaluation on known truth, benchmarks, the demo's stack. Not in the wheel."""
