"""Runs over time: pending runs are claimed, heartbeats kept, zombie runs closed, inconsistencies reported."""
