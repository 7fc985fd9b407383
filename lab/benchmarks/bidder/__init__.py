"""What the bidder costs and whether it errs under load, as ratios to bounds, measured in the same run."""
