-- What is thrown away when, and what must never come back.

ALTER TABLE callbacks ADD COLUMN raw_bytes INTEGER; -- NULL: as it came; else so long was the body that is compressed or, where it is empty, dropped

-- How far a walk through a table has come; 'stream': the last place in the stream that was thrown away.
CREATE TABLE pruning (
    what TEXT PRIMARY KEY,
    through TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Callbacks that the walk has passed because work of their jobs was pending.
CREATE TABLE kept_bodies (callback_id TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;

-- Jobs that were erased: their tokens never make them again.
CREATE TABLE erased (
    job_id TEXT PRIMARY KEY,
    erased_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Videos that are to be removed from storage, noted where their rows went.
CREATE TABLE unwanted_videos (
    name TEXT NOT NULL,
    due_ms INTEGER NOT NULL,
    PRIMARY KEY (due_ms, name)
) STRICT, WITHOUT ROWID;

-- One row while the work is paused.
CREATE TABLE hold (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    since_ms INTEGER NOT NULL,
    reason TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- In the place of the pending ones' own: removing an endpoint looks for all of its deliveries.
DROP INDEX deliveries_pending;
CREATE INDEX deliveries_by_endpoint ON deliveries (endpoint_id, status);
