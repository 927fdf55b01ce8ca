"""How providers have done of late, from the newest jobs in the database."""

from collections import defaultdict
from collections.abc import Mapping

from replyhook.jobs import JobStatus, Trust
from replyhook_receiver.stores.sql.connection import Raw, Row
from replyhook_receiver.stores.sql.database import Database
from replyhook_receiver.stores.track_records import LATEST, TrackRecord

# Job ids begin with their time, so the newest rows are the latest jobs.
_LATEST = """
    SELECT provider, status, trust, called_back_ms - submitted_ms AS waited_ms FROM jobs ORDER BY id DESC LIMIT ?
"""
_CALLED_BACK = (Trust.SIGNED, Trust.TOKEN_ONLY)


class SQLTrackRecords:
    """The TrackRecords protocol."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def latest(self) -> Mapping[str, TrackRecord]:
        return await self._database.read(_read)


def _read(raw: Raw) -> Mapping[str, TrackRecord]:
    by_provider: dict[str, list[Row]] = defaultdict(list)
    for row in raw.execute(_LATEST, (LATEST,)):
        by_provider[row["provider"]].append(row)
    return {provider: _record(rows) for provider, rows in by_provider.items()}


def _record(rows: list[Row]) -> TrackRecord:
    ends = [row["status"] for row in rows]
    # Answers to our own questions are no callbacks, and say nothing of how long one takes.
    waits = [row["waited_ms"] for row in rows if row["trust"] in _CALLED_BACK and row["waited_ms"] is not None]
    return TrackRecord(
        jobs=len(rows),
        succeeded=ends.count(JobStatus.SUCCEEDED),
        failed=ends.count(JobStatus.FAILED),
        canceled=ends.count(JobStatus.CANCELED),
        waited_seconds=tuple(waited / 1000 for waited in waits if waited >= 0),
    )
