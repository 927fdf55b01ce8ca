-- Where several receivers share a database: which of them runs a request with an Idempotency-Key, and since when.

ALTER TABLE idempotency ADD COLUMN runner words;

ALTER TABLE idempotency ADD COLUMN begun_ms BIGINT;
