-- Standing endpoints have no job: they hear of one user's jobs, or (user NULL) of all.

ALTER TABLE endpoints ADD COLUMN name TEXT;
ALTER TABLE endpoints ADD COLUMN user TEXT;
ALTER TABLE endpoints ADD COLUMN headers TEXT;           -- a JSON object; NULL: none
ALTER TABLE endpoints ADD COLUMN secrets TEXT;           -- JSON, newest first: [{"value", "expires_ms"}]; NULL: see "secret"
ALTER TABLE endpoints ADD COLUMN disabled_ms INTEGER;    -- NULL: enabled
ALTER TABLE endpoints ADD COLUMN disabled_why TEXT;
ALTER TABLE endpoints ADD COLUMN failing_since_ms INTEGER;
ALTER TABLE endpoints ADD COLUMN origin TEXT NOT NULL DEFAULT 'job';
ALTER TABLE endpoints ADD COLUMN removed_ms INTEGER;     -- kept for its deliveries' sake, without secrets

CREATE UNIQUE INDEX endpoints_of_settings ON endpoints (name) WHERE origin = 'settings';
CREATE INDEX deliveries_pending ON deliveries (endpoint_id) WHERE status = 'pending';
