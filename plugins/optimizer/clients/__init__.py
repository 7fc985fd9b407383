"""Clients of other systems' REST APIs."""
