"""Logs of any size: what a run's memory and bids are while a log on disk grows to hundreds of millions of bids."""
