id, project_id, name, prefix, scopes, rate_limit_per_s, created_at, expires_at, revoked_at, last_used_at
