"""Bid latency, and correctness under load, as ratios to bounds that are measured in the same run."""
