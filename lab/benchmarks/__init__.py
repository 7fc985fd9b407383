"""What the core costs, as ratios to something that cannot be done without, measured in the same run."""
