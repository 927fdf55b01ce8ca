
ALTER TABLE deliveries ADD COLUMN superseded_by TEXT; -- the delivery that made it pointless

CREATE INDEX deliveries_given_up ON deliveries (id) WHERE status = 'dead';

-- Every try, noted when it is begun: one that ended with its process never gets an end.
CREATE TABLE attempts (
    delivery_id TEXT NOT NULL REFERENCES deliveries (id),
    number INTEGER NOT NULL,
    begun_ms INTEGER NOT NULL,
    ended_ms INTEGER,
    took_ms INTEGER,                 -- from the first byte sent to the last taken; NULL where nothing was sent
    status INTEGER,                  -- HTTP's, or the channel's own
    answer TEXT,                     -- its first KB, without secrets
    problem TEXT,
    PRIMARY KEY (delivery_id, number)
) STRICT, WITHOUT ROWID;

-- Deliveries whose task is 'held': they wait for something other than a time, and are looked at when it has come.
CREATE TABLE held (
    delivery_id TEXT PRIMARY KEY REFERENCES deliveries (id),
    reason TEXT NOT NULL,            -- earlier_delivery, busy_endpoint, disabled_endpoint
    place TEXT NOT NULL,
    endpoint_id TEXT NOT NULL,
    job_id TEXT NOT NULL,
    notification INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX held_by_place ON held (place, notification) WHERE reason = 'busy_endpoint';
CREATE INDEX held_by_endpoint ON held (endpoint_id, reason, job_id, notification);

-- Where endpoints lead, of those that fail or asked for a pause: the first success takes the row away.
CREATE TABLE places (
    place TEXT PRIMARY KEY,          -- the channel, the address and the secret: endpoints that share them are one place
    failures INTEGER NOT NULL,       -- in a row
    probe_ms INTEGER NOT NULL        -- not before then
) STRICT, WITHOUT ROWID;
