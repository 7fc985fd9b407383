"""The session's replay of live days."""

from servers.replayed import replayed

__all__ = ["replayed"]
