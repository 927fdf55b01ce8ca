-- API keys: a hash of each, never the key. Text ids and no AUTOINCREMENT: a key may be made beside a running receiver,
-- which is the only one to count notifications.

CREATE TABLE api_keys (
    id TEXT PRIMARY KEY,
    hash BLOB NOT NULL UNIQUE,
    starts_with TEXT NOT NULL,       -- its first letters, to tell it from others
    name TEXT,
    scopes TEXT NOT NULL,            -- words, parted by spaces
    user TEXT,                       -- NULL: everybody's jobs
    created_ms INTEGER NOT NULL,
    expires_ms INTEGER,
    revoked_ms INTEGER,
    last_used_ms INTEGER,            -- written at most once a minute
    CHECK (user IS NULL OR instr(scopes, 'admin') = 0)
) STRICT;

-- What the hashes are keyed with: another in each database.
CREATE TABLE key_hashing (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    secret BLOB NOT NULL
) STRICT;

INSERT INTO key_hashing (only_row, secret) VALUES (1, randomblob(32));
