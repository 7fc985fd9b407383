"""Whether a run goes live, how it does there, and what follows: hold, canary, rollback."""
