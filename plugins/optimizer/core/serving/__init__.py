"""What the bidder and the optimizer compute alike: segment keys, and which run prices a request."""
