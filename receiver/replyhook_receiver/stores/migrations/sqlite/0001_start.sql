-- Times are milliseconds since 1970, UTC.

CREATE TABLE jobs (
    id TEXT PRIMARY KEY,
    provider TEXT NOT NULL,
    account TEXT NOT NULL,
    reference TEXT,
    user TEXT,
    provider_job_id TEXT,
    status TEXT NOT NULL,
    progress INTEGER,
    trust TEXT,
    error_code TEXT,
    error_message TEXT,
    request TEXT NOT NULL,
    registration TEXT,               -- what was registered, to tell a repeat from a conflict; NULL: known from a token only
    relay_video TEXT,                -- the video's URL, where we submit the job ourselves
    submitting_ms INTEGER,           -- set before a relayed submit is sent, so that it is never sent twice
    submission TEXT,
    created_ms INTEGER NOT NULL,
    submitted_ms INTEGER,
    called_back_ms INTEGER,
    finished_ms INTEGER,
    overdue_ms INTEGER,
    overdue_reason TEXT
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX jobs_by_provider_job ON jobs (provider, account, provider_job_id)
    WHERE provider_job_id IS NOT NULL;

CREATE INDEX jobs_by_user ON jobs (user, created_ms) WHERE user IS NOT NULL;
CREATE INDEX jobs_by_reference ON jobs (reference, id) WHERE reference IS NOT NULL;

CREATE TABLE assets (
    job_id TEXT PRIMARY KEY REFERENCES jobs (id),
    status TEXT NOT NULL,
    url TEXT,
    expires_ms INTEGER,
    name TEXT,
    bytes INTEGER,
    sha256 TEXT,
    content_type TEXT,
    duration_ms INTEGER,
    width INTEGER,
    height INTEGER,
    stored_ms INTEGER,
    problem TEXT
) STRICT, WITHOUT ROWID;

CREATE TABLE callbacks (
    id TEXT PRIMARY KEY,
    provider TEXT NOT NULL,
    account TEXT NOT NULL,
    job_id TEXT,
    source TEXT NOT NULL,
    received_ms INTEGER NOT NULL,
    trust TEXT NOT NULL,
    verdict TEXT,                    -- NULL: an orphan, not judged yet
    event_key TEXT,
    headers TEXT NOT NULL,
    body BLOB NOT NULL
) STRICT;

CREATE INDEX callbacks_by_job ON callbacks (job_id, id);

CREATE TABLE events (
    key TEXT PRIMARY KEY,            -- the fact itself, hashed: the second of the same is refused here
    id TEXT NOT NULL,
    job_id TEXT,                     -- NULL: an orphan, bound when its job is known
    provider TEXT NOT NULL,
    account TEXT NOT NULL,
    provider_job_id TEXT,
    callback_id TEXT NOT NULL,
    source TEXT NOT NULL,
    status TEXT,
    word TEXT,
    progress INTEGER,
    result_url TEXT,                 -- the freshest link told for this fact
    link_dead INTEGER NOT NULL DEFAULT 0, -- it was tried and given up
    error_code TEXT,
    error_message TEXT,
    verdict TEXT,
    created_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX events_orphaned ON events (provider, account, provider_job_id) WHERE job_id IS NULL;

CREATE TABLE nonces (
    provider TEXT NOT NULL,
    account TEXT NOT NULL,
    nonce TEXT NOT NULL,
    seen_ms INTEGER NOT NULL,
    PRIMARY KEY (provider, account, nonce)
) STRICT, WITHOUT ROWID;

CREATE TABLE notifications (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    job_id TEXT NOT NULL,
    type TEXT NOT NULL,
    body BLOB NOT NULL,
    created_ms INTEGER NOT NULL
) STRICT;

CREATE INDEX notifications_by_job ON notifications (job_id, sequence);

CREATE TABLE endpoints (
    id TEXT PRIMARY KEY,
    job_id TEXT REFERENCES jobs (id),
    channel TEXT NOT NULL,
    url TEXT NOT NULL,
    secret TEXT,
    types TEXT NOT NULL,
    created_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX endpoints_by_job ON endpoints (job_id);

CREATE TABLE deliveries (
    id TEXT PRIMARY KEY,
    notification INTEGER NOT NULL REFERENCES notifications (sequence),
    endpoint_id TEXT NOT NULL REFERENCES endpoints (id),
    status TEXT NOT NULL,
    answer INTEGER,
    created_ms INTEGER NOT NULL,
    delivered_ms INTEGER,
    problem TEXT,
    UNIQUE (notification, endpoint_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE tasks (
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,           -- the row it is about: a job for downloads and questions, a delivery for notices
    state TEXT NOT NULL,             -- ready, leased, done, dead
    attempts INTEGER NOT NULL,
    due_ms INTEGER NOT NULL,
    again INTEGER NOT NULL DEFAULT 0, -- something new came while it was being done: begin anew afterwards
    lease TEXT,
    lease_until_ms INTEGER,
    problem TEXT,
    created_ms INTEGER NOT NULL,
    finished_ms INTEGER,
    PRIMARY KEY (kind, subject)
) STRICT, WITHOUT ROWID;

CREATE INDEX tasks_ready ON tasks (due_ms) WHERE state = 'ready';
CREATE INDEX tasks_leased ON tasks (lease_until_ms) WHERE state = 'leased';

CREATE TABLE deadlines (
    job_id TEXT PRIMARY KEY REFERENCES jobs (id),
    due_ms INTEGER NOT NULL          -- not taken away when the job ends: that costs a callback; looked at when it is due
) STRICT, WITHOUT ROWID;

CREATE INDEX deadlines_by_due ON deadlines (due_ms);

CREATE TABLE senders (
    provider TEXT NOT NULL,
    account TEXT NOT NULL,
    sender TEXT NOT NULL,
    callback_id TEXT NOT NULL,
    learned_ms INTEGER NOT NULL,
    PRIMARY KEY (provider, account, sender)
) STRICT, WITHOUT ROWID;
