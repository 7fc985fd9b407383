"""From win-rate curves to bids, and what they are expected to bring."""
