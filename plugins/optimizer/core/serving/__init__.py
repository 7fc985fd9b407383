"""What the bidder and the optimizer must compute identically: segment keys, and which run prices a request."""
