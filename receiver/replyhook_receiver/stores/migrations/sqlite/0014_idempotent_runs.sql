-- Where several receivers share a database: which of them runs a request with an Idempotency-Key, and since when.

ALTER TABLE idempotency ADD COLUMN runner TEXT;

ALTER TABLE idempotency ADD COLUMN begun_ms INTEGER;
