-- Notes that a session is over, and forgets those that would be over by themselves.
-- Grain: none. Parameters: sha256 of the cookie; lifetime, an interval.
WITH forgotten AS (DELETE FROM optimization_ended_sessions WHERE ended_at < now() - %(lifetime)s)
INSERT INTO optimization_ended_sessions (sha256) VALUES (%(sha256)s) ON CONFLICT DO NOTHING
