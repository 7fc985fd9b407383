"""Days of live bidding with known truth: counts alone, for many worlds at once."""
