"""Reports that came before their job was known: judged, in the order they came, once it is."""

from replyhook.jobs import Trust
from replyhook_receiver.lifecycle import Verdict, decide, fact_key
from replyhook_receiver.records import JobRecord
from replyhook_receiver.stores.base import Describe
from replyhook_receiver.stores.sql.connection import Raw
from replyhook_receiver.stores.sql.facts import carry_out, tell_again
from replyhook_receiver.stores.sql.rows import event_from, from_ms
from replyhook_receiver.stores.sql.unit import Unit


def bind_orphans(raw: Raw, job: JobRecord, describe: Describe) -> None:
    """Judge what was told of a job before its provider's id was known to be its own."""
    unit = Unit(raw, describe)
    orphans = raw.execute(
        """
        SELECT e.*, c.trust, c.received_ms FROM events e JOIN callbacks c ON c.id = e.callback_id
        WHERE e.job_id IS NULL AND e.provider = ? AND e.account = ? AND e.provider_job_id = ?
        ORDER BY c.rowid
        """,
        (job.provider, job.account, job.provider_job_id),
    ).fetchall()
    for row in orphans:
        raw = unit.raw
        current = unit.job(job.id) or job
        event = event_from(row)
        key = fact_key(provider=job.provider, account=job.account, job_id=job.id, event=event)
        is_known = raw.execute("SELECT 1 FROM events WHERE key = ?", (key,)).fetchone() is not None
        decision = decide(current.state, event)
        verdict = Verdict.DUPLICATE if is_known else decision.verdict
        raw.execute(
            """
            UPDATE callbacks SET job_id = ?, verdict = coalesce(verdict, ?), event_key = ?
            WHERE job_id IS NULL AND event_key = ?
            """,
            (job.id, verdict, key, row["key"]),
        )
        trust, received_at = Trust(row["trust"]), from_ms(row["received_ms"])
        assert received_at is not None  # noqa: S101 - the column is NOT NULL
        if is_known:
            raw.execute("DELETE FROM events WHERE key = ?", (row["key"],))
            tell_again(unit, current, event, key, trust, received_at)
            continue
        changed = (key, job.id, verdict, row["key"])
        raw.execute("UPDATE events SET key = ?, job_id = ?, verdict = ? WHERE key = ?", changed)
        carry_out(unit, current, decision, trust, received_at)
    unit.flush()
