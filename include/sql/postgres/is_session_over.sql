-- Whether a user has ended a session.
-- Grain: one row. Parameters: sha256 of the cookie.
SELECT EXISTS (SELECT FROM optimization_ended_sessions WHERE sha256 = %(sha256)s)
