-- Written only where `tracing` is on.

CREATE TABLE traces (
    job_id TEXT PRIMARY KEY,
    traceparent TEXT NOT NULL        -- W3C Trace Context: what the later spans of this job are children of
) STRICT, WITHOUT ROWID;
