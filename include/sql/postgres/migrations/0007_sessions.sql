-- The dashboard's sessions that a user has ended: a cookie is not taken after it was signed out, in any process.
-- Rows are kept for as long as a cookie would be valid.

CREATE TABLE optimization_ended_sessions (
    sha256   bytea       NOT NULL PRIMARY KEY CHECK (length(sha256) = 32),
    ended_at timestamptz NOT NULL DEFAULT now()
);
GRANT SELECT, INSERT, DELETE ON optimization_ended_sessions TO optimization_gate;
