-- Relayed submits that wait for a place at their provider's account, in the order of their arrival. Their tasks are in
-- the state 'waiting', which nobody claims.
CREATE TABLE relay_queue (
    provider TEXT NOT NULL,
    account TEXT NOT NULL,
    arrived_ms INTEGER NOT NULL,
    job_id TEXT NOT NULL REFERENCES jobs (id),
    PRIMARY KEY (provider, account, arrived_ms, job_id)
) STRICT, WITHOUT ROWID;

-- When a provider first refused a submit that is sent again.
CREATE TABLE relay_refusals (
    job_id TEXT PRIMARY KEY REFERENCES jobs (id),
    since_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX jobs_under_way ON jobs (provider, account)
    WHERE registration IS NOT NULL AND finished_ms IS NULL AND overdue_ms IS NULL
        AND (submitting_ms IS NOT NULL OR status <> 'created');

CREATE INDEX relays_held ON tasks (subject) WHERE kind = 'relay' AND state IN ('ready', 'leased');

-- Answers to POSTs that came with an Idempotency-Key; status is NULL until there is one.
CREATE TABLE idempotency (
    caller TEXT NOT NULL,            -- the API key, hashed
    key TEXT NOT NULL,
    request TEXT NOT NULL,           -- method, path and body, hashed
    made_id TEXT NOT NULL,           -- what the id of whatever the request makes is made from, however often it is run
    status INTEGER,
    content_type TEXT,
    body BLOB,
    created_ms INTEGER NOT NULL,
    PRIMARY KEY (caller, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX idempotency_by_age ON idempotency (created_ms);
