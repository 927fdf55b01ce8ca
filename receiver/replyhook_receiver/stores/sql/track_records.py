"""How providers' jobs have ended of late, in SQL: job ids begin with their time, so the newest rows are the latest."""

from collections import defaultdict
from collections.abc import Mapping

from replyhook.jobs import JobStatus
from replyhook_receiver.stores.overview import NEWEST_JOBS
from replyhook_receiver.stores.sql.connection import Raw
from replyhook_receiver.stores.sql.database import Database
from replyhook_receiver.stores.track_records import TrackRecord

_LATEST = """
    SELECT provider, status, count(*) AS jobs FROM (SELECT provider, status FROM jobs ORDER BY id DESC LIMIT ?) latest
    GROUP BY provider, status
"""


class SQLTrackRecords:
    """The ``TrackRecords`` protocol over the store's database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def latest(self) -> Mapping[str, TrackRecord]:
        return await self._database.read(_read)


def _read(raw: Raw) -> Mapping[str, TrackRecord]:
    counts: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for row in raw.execute(_LATEST, (NEWEST_JOBS,)):
        counts[row["provider"]][row["status"]] = row["jobs"]
    return {
        provider: TrackRecord(
            jobs=sum(of.values()), succeeded=of.get(JobStatus.SUCCEEDED, 0), failed=of.get(JobStatus.FAILED, 0)
        )
        for provider, of in counts.items()
    }
