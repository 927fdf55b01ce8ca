-- The schema as SQLite's has become by its step of the same number; from here on both take the same steps.
-- Times are milliseconds since 1970, UTC. Text is compared by its bytes, as there, whatever the database's collation:
-- keys are looked for by ranges. What comes from outside and may be long is found by a hash index, which has no
-- longest key.

CREATE DOMAIN words AS TEXT COLLATE "C";

CREATE TABLE jobs (
    id words PRIMARY KEY,
    provider words NOT NULL,
    account words NOT NULL,
    reference words,
    "user" words,
    provider_job_id words,
    status words NOT NULL,
    progress BIGINT,
    trust words,
    error_code words,
    error_message words,
    request words NOT NULL,
    registration words, -- what was registered, to tell a repeat from a conflict; NULL: known from a token only
    relay_video words, -- the video's URL, where we submit the job ourselves
    submitting_ms BIGINT, -- set before a relayed submit is sent, so that it is never sent twice
    submission words,
    created_ms BIGINT NOT NULL,
    submitted_ms BIGINT,
    called_back_ms BIGINT,
    finished_ms BIGINT,
    overdue_ms BIGINT,
    overdue_reason words
);

-- The account last: led by it, the index would be taken for one that finds a job, as long as there are no statistics.
CREATE UNIQUE INDEX jobs_by_provider_job ON jobs (md5(provider_job_id), provider, account)
    WHERE provider_job_id IS NOT NULL;

CREATE INDEX jobs_called ON jobs USING hash (provider_job_id) WHERE provider_job_id IS NOT NULL;

CREATE INDEX jobs_by_user ON jobs ("user", created_ms) WHERE "user" IS NOT NULL;

CREATE INDEX jobs_by_reference ON jobs USING hash (reference) WHERE reference IS NOT NULL;

CREATE TABLE assets (
    job_id words PRIMARY KEY REFERENCES jobs (id),
    status words NOT NULL,
    url words,
    expires_ms BIGINT,
    name words,
    bytes BIGINT,
    sha256 words,
    content_type words,
    duration_ms BIGINT,
    width BIGINT,
    height BIGINT,
    stored_ms BIGINT,
    problem words,
    poster words,
    dead_answers BIGINT NOT NULL DEFAULT 0,
    link_questions BIGINT NOT NULL DEFAULT 0
);

-- The ledger of callbacks is kept for long; their bodies and headers, which are most of the bytes, lie apart, a day to a
-- partition: what is old is dropped with its partition, and no row of it is touched. A body that is not there was
-- dropped; "callbacks" shows both as one.
CREATE TABLE callback_ledger (
    rowid BIGINT GENERATED ALWAYS AS IDENTITY, -- the order in which they came
    id words PRIMARY KEY,
    provider words NOT NULL,
    account words NOT NULL,
    job_id words,
    source words NOT NULL,
    received_ms BIGINT NOT NULL,
    trust words NOT NULL,
    verdict words, -- NULL: an orphan, not judged yet
    event_key words,
    bytes BIGINT NOT NULL -- how long the body was that came
);

CREATE UNIQUE INDEX callbacks_in_order ON callback_ledger (rowid);

CREATE INDEX callbacks_by_job ON callback_ledger (job_id, id);

CREATE INDEX callbacks_orphaned ON callback_ledger (id) WHERE job_id IS NULL;

CREATE INDEX callbacks_by_fact ON callback_ledger (event_key) WHERE job_id IS NULL;

-- Ids begin with their time, so a day is a range of them.
CREATE TABLE callback_bodies (
    callback_id words PRIMARY KEY,
    headers words NOT NULL,
    body BYTEA NOT NULL,
    raw_bytes BIGINT -- NULL: as it came; else so long was the body that is compressed
) PARTITION BY RANGE (callback_id);

CREATE TABLE callback_bodies_of_other_days PARTITION OF callback_bodies DEFAULT;

CREATE VIEW callbacks AS
    SELECT l.rowid, l.id, l.provider, l.account, l.job_id, l.source, l.received_ms, l.trust, l.verdict, l.event_key,
        coalesce(b.headers, '[]') AS headers, coalesce(b.body, '') AS body,
        CASE WHEN b.callback_id IS NULL THEN l.bytes ELSE b.raw_bytes END AS raw_bytes
    FROM callback_ledger l LEFT JOIN callback_bodies b ON b.callback_id = l.id;

CREATE FUNCTION keep_callback() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO callback_ledger
        (id, provider, account, job_id, source, received_ms, trust, verdict, event_key, bytes)
    VALUES (NEW.id, NEW.provider, NEW.account, NEW.job_id, NEW.source, NEW.received_ms, NEW.trust, NEW.verdict,
        NEW.event_key, length(NEW.body));
    INSERT INTO callback_bodies (callback_id, headers, body) VALUES (NEW.id, NEW.headers, NEW.body);
    RETURN NEW;
END $$;

CREATE FUNCTION change_callback() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (OLD.job_id, OLD.verdict, OLD.event_key) IS DISTINCT FROM (NEW.job_id, NEW.verdict, NEW.event_key) THEN
        UPDATE callback_ledger SET job_id = NEW.job_id, verdict = NEW.verdict, event_key = NEW.event_key
        WHERE id = OLD.id;
    END IF;
    IF length(NEW.body) = 0 AND NEW.raw_bytes IS NOT NULL THEN
        DELETE FROM callback_bodies WHERE callback_id = OLD.id;
    ELSIF (OLD.headers, OLD.raw_bytes, OLD.body) IS DISTINCT FROM (NEW.headers, NEW.raw_bytes, NEW.body) THEN
        UPDATE callback_bodies SET headers = NEW.headers, body = NEW.body, raw_bytes = NEW.raw_bytes
        WHERE callback_id = OLD.id;
    END IF;
    RETURN NEW;
END $$;

CREATE FUNCTION remove_callback() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM callback_bodies WHERE callback_id = OLD.id;
    DELETE FROM callback_ledger WHERE id = OLD.id;
    RETURN OLD;
END $$;

CREATE TRIGGER kept INSTEAD OF INSERT ON callbacks FOR EACH ROW EXECUTE FUNCTION keep_callback();

CREATE TRIGGER changed INSTEAD OF UPDATE ON callbacks FOR EACH ROW EXECUTE FUNCTION change_callback();

CREATE TRIGGER removed INSTEAD OF DELETE ON callbacks FOR EACH ROW EXECUTE FUNCTION remove_callback();

CREATE TABLE events (
    key words PRIMARY KEY, -- the fact itself, hashed: the second of the same is refused here
    id words NOT NULL,
    job_id words, -- NULL: an orphan, bound when its job is known
    provider words NOT NULL,
    account words NOT NULL,
    provider_job_id words,
    callback_id words NOT NULL,
    source words NOT NULL,
    status words,
    word words,
    progress BIGINT,
    result_url words, -- the freshest link told for this fact
    link_dead BIGINT NOT NULL DEFAULT 0, -- it was tried and given up
    error_code words,
    error_message words,
    verdict words,
    created_ms BIGINT NOT NULL
);

CREATE INDEX events_orphaned ON events USING hash (provider_job_id) WHERE job_id IS NULL;

CREATE TABLE nonces (
    provider words NOT NULL,
    account words NOT NULL,
    nonce words NOT NULL,
    seen_ms BIGINT NOT NULL,
    PRIMARY KEY (provider, account, nonce)
);

CREATE TABLE notifications (
    sequence BIGINT PRIMARY KEY,
    id words NOT NULL,
    job_id words NOT NULL,
    type words NOT NULL,
    body BYTEA NOT NULL,
    created_ms BIGINT NOT NULL
);

CREATE INDEX notifications_by_job ON notifications (job_id, sequence);

CREATE TABLE endpoints (
    id words PRIMARY KEY,
    job_id words REFERENCES jobs (id),
    channel words NOT NULL,
    url words NOT NULL,
    secret words,
    types words NOT NULL,
    created_ms BIGINT NOT NULL,
    name words,
    "user" words,
    headers words,
    secrets words,
    disabled_ms BIGINT,
    disabled_why words,
    failing_since_ms BIGINT,
    origin words NOT NULL DEFAULT 'job',
    removed_ms BIGINT
);

CREATE INDEX endpoints_by_job ON endpoints (job_id);

CREATE TABLE deliveries (
    id words PRIMARY KEY,
    notification BIGINT NOT NULL REFERENCES notifications (sequence),
    endpoint_id words NOT NULL REFERENCES endpoints (id),
    status words NOT NULL,
    answer BIGINT,
    created_ms BIGINT NOT NULL,
    delivered_ms BIGINT,
    problem words,
    superseded_by words,
    UNIQUE (notification, endpoint_id)
);

CREATE TABLE tasks (
    kind words NOT NULL,
    subject words NOT NULL, -- the row it is about: a job for downloads and questions, a delivery for notices
    state words NOT NULL, -- ready, leased, done, dead
    attempts BIGINT NOT NULL,
    due_ms BIGINT NOT NULL,
    again BIGINT NOT NULL DEFAULT 0, -- something new came while it was being done: begin anew afterwards
    lease words,
    lease_until_ms BIGINT,
    problem words,
    created_ms BIGINT NOT NULL,
    finished_ms BIGINT,
    PRIMARY KEY (kind, subject)
);

CREATE INDEX tasks_ready ON tasks (due_ms) WHERE state = 'ready';

CREATE INDEX tasks_leased ON tasks (lease_until_ms) WHERE state = 'leased';

CREATE TABLE deadlines (
    job_id words PRIMARY KEY REFERENCES jobs (id),
    due_ms BIGINT NOT NULL -- not taken away when the job ends: that costs a callback; looked at when it is due
);

CREATE INDEX deadlines_by_due ON deadlines (due_ms);

CREATE TABLE senders (
    provider words NOT NULL,
    account words NOT NULL,
    sender words NOT NULL,
    callback_id words NOT NULL,
    learned_ms BIGINT NOT NULL,
    PRIMARY KEY (provider, account, sender)
);

-- Relayed submits that wait for a place at their provider's account, in the order of their arrival. Their tasks are in
-- the state 'waiting', which nobody claims.
CREATE TABLE relay_queue (
    provider words NOT NULL,
    account words NOT NULL,
    arrived_ms BIGINT NOT NULL,
    job_id words NOT NULL REFERENCES jobs (id),
    PRIMARY KEY (provider, account, arrived_ms, job_id)
);

CREATE TABLE relay_refusals (
    job_id words PRIMARY KEY REFERENCES jobs (id),
    since_ms BIGINT NOT NULL
);

CREATE INDEX jobs_under_way ON jobs (provider, account)
    WHERE registration IS NOT NULL AND finished_ms IS NULL AND overdue_ms IS NULL
        AND (submitting_ms IS NOT NULL OR status <> 'created');

CREATE INDEX relays_held ON tasks (subject) WHERE kind = 'relay' AND state IN ('ready', 'leased');

CREATE TABLE idempotency (
    caller words NOT NULL, -- the API key, hashed
    key words NOT NULL,
    request words NOT NULL, -- method, path and body, hashed
    made_id words NOT NULL, -- what the id of whatever the request makes is made from, however often it is run
    status BIGINT,
    content_type words,
    body BYTEA,
    created_ms BIGINT NOT NULL,
    PRIMARY KEY (caller, key)
);

CREATE INDEX idempotency_by_age ON idempotency (created_ms);

CREATE INDEX assets_undated ON assets (job_id) WHERE status = 'pending' AND expires_ms IS NULL;

CREATE INDEX assets_by_expiry ON assets (expires_ms) WHERE status = 'pending' AND expires_ms IS NOT NULL;

CREATE TABLE last_calls (
    job_id words PRIMARY KEY REFERENCES jobs (id),
    due_ms BIGINT NOT NULL -- when it is to be told that the video is not stored and its link ends
);

CREATE INDEX last_calls_by_due ON last_calls (due_ms);

CREATE UNIQUE INDEX endpoints_of_settings ON endpoints (name) WHERE origin = 'settings';

CREATE INDEX deliveries_given_up ON deliveries (id) WHERE status = 'dead';

-- Every try, noted when it is begun: one that ended with its process never gets an end.
CREATE TABLE attempts (
    delivery_id words NOT NULL REFERENCES deliveries (id),
    number BIGINT NOT NULL,
    begun_ms BIGINT NOT NULL,
    ended_ms BIGINT,
    took_ms BIGINT, -- from the first byte sent to the last taken; NULL where nothing was sent
    status BIGINT, -- HTTP's, or the channel's own
    answer words, -- its first KB, without secrets
    problem words,
    PRIMARY KEY (delivery_id, number)
);

-- Deliveries whose task is 'held': they wait for something other than a time, and are looked at when it has come.
CREATE TABLE held (
    delivery_id words PRIMARY KEY REFERENCES deliveries (id),
    reason words NOT NULL, -- earlier_delivery, busy_endpoint, disabled_endpoint
    place words NOT NULL,
    endpoint_id words NOT NULL,
    job_id words NOT NULL,
    notification BIGINT NOT NULL
);

CREATE INDEX held_by_place ON held (place, notification) WHERE reason = 'busy_endpoint';

CREATE INDEX held_by_endpoint ON held (endpoint_id, reason, job_id, notification);

CREATE TABLE places (
    place words PRIMARY KEY, -- the channel, the address and the secret: endpoints that share them are one place
    failures BIGINT NOT NULL, -- in a row
    probe_ms BIGINT NOT NULL -- not before then
);

CREATE INDEX callbacks_unrecognised ON callback_ledger (rowid) WHERE verdict = 'unrecognised';

CREATE TABLE api_keys (
    id words PRIMARY KEY,
    hash BYTEA NOT NULL UNIQUE,
    starts_with words NOT NULL, -- its first letters, to tell it from others
    name words,
    scopes words NOT NULL, -- words, parted by spaces
    "user" words, -- NULL: everybody's jobs
    created_ms BIGINT NOT NULL,
    expires_ms BIGINT,
    revoked_ms BIGINT,
    last_used_ms BIGINT, -- written at most once a minute
    CHECK ("user" IS NULL OR strpos(scopes, 'admin') = 0)
);

CREATE TABLE key_hashing (
    only_row BIGINT PRIMARY KEY CHECK (only_row = 1),
    secret BYTEA NOT NULL
);

INSERT INTO key_hashing (only_row, secret)
VALUES (1, decode(replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'hex'));

-- How far a walk through a table has come; 'stream': the last place in the stream that was thrown away.
CREATE TABLE pruning (
    what words PRIMARY KEY,
    through words NOT NULL
);

-- Callbacks whose bodies were to be dropped while work of their jobs was pending.
CREATE TABLE kept_bodies (callback_id words PRIMARY KEY);

-- Jobs that were erased: their tokens never make them again.
CREATE TABLE erased (
    job_id words PRIMARY KEY,
    erased_ms BIGINT NOT NULL
);

CREATE TABLE unwanted_videos (
    name words NOT NULL,
    due_ms BIGINT NOT NULL,
    PRIMARY KEY (due_ms, name)
);

-- One row while the work is paused.
CREATE TABLE hold (
    one BIGINT PRIMARY KEY CHECK (one = 1),
    since_ms BIGINT NOT NULL,
    reason words NOT NULL
);

CREATE INDEX deliveries_by_endpoint ON deliveries (endpoint_id, status);

-- Written to find out whether commits reach the disk again.
CREATE TABLE probe (
    one BIGINT PRIMARY KEY CHECK (one = 1),
    touched BIGINT NOT NULL
);

-- Rows that change often: room to change them where they lie, and no waiting until a fifth of them has.
ALTER TABLE tasks SET (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02);

ALTER TABLE jobs SET (fillfactor = 80);

ALTER TABLE assets SET (fillfactor = 80);

ALTER TABLE deliveries SET (fillfactor = 80);
