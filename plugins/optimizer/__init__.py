"""RTB optimizer: learns from what was bid, won and clicked, and says what to bid next."""
