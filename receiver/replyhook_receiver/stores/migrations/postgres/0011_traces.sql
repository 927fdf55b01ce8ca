-- Written only where `tracing` is on.

CREATE TABLE traces (
    job_id words PRIMARY KEY,
    traceparent words NOT NULL -- W3C Trace Context: what the later spans of this job are children of
);
