"""PostgreSQLStore: the store's rules over one PostgreSQL."""

from functools import partial
from typing import Unpack

from msgspec.structs import replace

from replyhook.ids import new_id
from replyhook_receiver.records import Accepted, Report
from replyhook_receiver.stores.postgres.database import PostgreSQLDatabase
from replyhook_receiver.stores.postgres.retention import PostgreSQLRetention
from replyhook_receiver.stores.postgres.values import NUL, holdable
from replyhook_receiver.stores.sql.idempotency import SQLIdempotency
from replyhook_receiver.stores.sql.store import Options, SQLStore


class PostgreSQLStore(SQLStore):
    """One PostgreSQL, by its URL; the rest is as in ``SQLStore``. Raises ``ConfigurationError`` for another URL."""

    def __init__(self, url: str, **options: Unpack[Options]) -> None:
        super().__init__(partial(PostgreSQLDatabase, url), **options)
        self.idempotency = SQLIdempotency(self.database, runner=new_id("rcv"))
        self.retention = PostgreSQLRetention(self.database)

    async def accept(self, report: Report) -> Accepted:
        # As it will be read again: the name of a job is compared with what was kept.
        event = report.event
        if event is not None and event.provider_job_id is not None and NUL in event.provider_job_id:
            report = replace(report, event=replace(event, provider_job_id=holdable(event.provider_job_id)))
        return await super().accept(report)
