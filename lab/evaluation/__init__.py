"""The optimizer against known truth: simulated worlds, scenarios, baselines and the table of goals."""
