-- When links end is worked out away from the callbacks, when downloads are claimed: until then expires_ms is NULL.

CREATE INDEX assets_undated ON assets (job_id) WHERE status = 'pending' AND expires_ms IS NULL;
CREATE INDEX assets_by_expiry ON assets (expires_ms) WHERE status = 'pending' AND expires_ms IS NOT NULL;

ALTER TABLE assets ADD COLUMN poster TEXT;
ALTER TABLE assets ADD COLUMN dead_answers INTEGER NOT NULL DEFAULT 0; -- how often its links were refused

CREATE TABLE last_calls (
    job_id TEXT PRIMARY KEY REFERENCES jobs (id),
    due_ms INTEGER NOT NULL          -- when it is to be told that the video is not stored and its link ends
) STRICT, WITHOUT ROWID;

CREATE INDEX last_calls_by_due ON last_calls (due_ms);
