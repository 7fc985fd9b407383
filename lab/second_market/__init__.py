"""A second family of simulated markets with known truth, written independently of `lab.market`."""
