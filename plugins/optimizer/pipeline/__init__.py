"""The steps of a run, in order, over the three systems; each can be repeated, and each says what it did."""
