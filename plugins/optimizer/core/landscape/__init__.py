"""How the chance to win depends on the bid: what identifies the slope, and the curve of each segment."""
