"""Runs over time: pending runs are claimed, zombie runs closed, inconsistencies reported, old objects removed."""
