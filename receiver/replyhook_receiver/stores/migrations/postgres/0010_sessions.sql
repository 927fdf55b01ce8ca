-- The dashboard: who is signed in, and what was done by hand. Of a session only a hash of its id is kept.

CREATE TABLE sessions (
    hash BYTEA PRIMARY KEY,
    key_id words NOT NULL, -- of the API key that signed in; it may be one of the settings', which has no row
    created_ms BIGINT NOT NULL,
    last_seen_ms BIGINT NOT NULL, -- written at most once a minute
    expires_ms BIGINT NOT NULL,
    revoked_ms BIGINT
);

CREATE INDEX sessions_by_end ON sessions (expires_ms);

CREATE TABLE audit (
    id words PRIMARY KEY,
    at_ms BIGINT NOT NULL,
    key_id words NOT NULL,
    key_name words, -- as it was called then
    "user" words, -- whose things the key was for; NULL: everybody's
    action words NOT NULL,
    thing words NOT NULL, -- what it was done to: job, callback, delivery, endpoint
    thing_id words NOT NULL,
    job_id words, -- the job it was about, if it was about one
    outcome words NOT NULL,
    detail words
);

CREATE INDEX audit_by_job ON audit (job_id, id) WHERE job_id IS NOT NULL;
CREATE INDEX audit_by_thing ON audit (thing_id, id);
