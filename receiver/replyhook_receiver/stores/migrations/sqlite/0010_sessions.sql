-- The dashboard: who is signed in, and what was done by hand. Of a session only a hash of its id is kept.

CREATE TABLE sessions (
    hash BLOB PRIMARY KEY,
    key_id TEXT NOT NULL,            -- of the API key that signed in; it may be one of the settings', which has no row
    created_ms INTEGER NOT NULL,
    last_seen_ms INTEGER NOT NULL,   -- written at most once a minute
    expires_ms INTEGER NOT NULL,
    revoked_ms INTEGER
) STRICT;

CREATE INDEX sessions_by_end ON sessions (expires_ms);

CREATE TABLE audit (
    id TEXT PRIMARY KEY,
    at_ms INTEGER NOT NULL,
    key_id TEXT NOT NULL,
    key_name TEXT,                   -- as it was called then
    "user" TEXT,                     -- whose things the key was for; NULL: everybody's
    action TEXT NOT NULL,
    thing TEXT NOT NULL,             -- what it was done to: job, callback, delivery, endpoint
    thing_id TEXT NOT NULL,
    job_id TEXT,                     -- the job it was about, if it was about one
    outcome TEXT NOT NULL,
    detail TEXT
) STRICT;

CREATE INDEX audit_by_job ON audit (job_id, id) WHERE job_id IS NOT NULL;
CREATE INDEX audit_by_thing ON audit (thing_id, id);
