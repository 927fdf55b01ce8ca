"""Throwing away what is old: looked for on the readers, removed in short commits beside all others."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from datetime import datetime

import msgspec

from replyhook_receiver.stores.retention import COMPRESSED_AFTER, KeepFor, Swept
from replyhook_receiver.stores.sql import bodies
from replyhook_receiver.stores.sql.connection import Raw
from replyhook_receiver.stores.sql.database import Database
from replyhook_receiver.stores.sql.leaving import ROWS_AT_A_TIME
from replyhook_receiver.stores.sql.pruning import Keys, Place, Walk, id_at, note_through, walks
from replyhook_receiver.stores.sql.rows import from_ms, to_ms

_PASSED = "SELECT callback_id AS id FROM kept_bodies WHERE callback_id > ? AND callback_id < ? ORDER BY 1 LIMIT ?"
_ALL = "SELECT id FROM callbacks WHERE id > ? AND id < ? ORDER BY id LIMIT ?"


class SQLRetention:
    """The Retention protocol."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def prune(self, keep: KeepFor, *, now: datetime, dry_run: bool = False) -> AsyncGenerator[Swept, None]:
        if not dry_run:
            async for step in self._compress(id_at(now - COMPRESSED_AFTER)):
                yield step
        before = now - keep.bodies
        async for step in self._drop(_PASSED, id_at(before), None, dry_run=dry_run):
            yield step
        async for step in self._drop_old(before, dry_run=dry_run):
            yield step
        for walk in walks(keep, now):
            async for step in self._walked(walk, dry_run=dry_run):
                yield step

    async def next_round(self) -> datetime | None:
        through = await self._through("next round")
        return from_ms(int(through)) if through else None

    async def plan_round(self, at: datetime) -> None:
        await self._database.write(lambda raw: note_through(raw, "next round", str(to_ms(at))))

    async def unwanted_videos(self, *, now: datetime, limit: int = 100) -> list[str]:
        statement = "SELECT name FROM unwanted_videos WHERE due_ms <= ? GROUP BY name ORDER BY min(due_ms) LIMIT ?"
        rows = await self._database.read(lambda raw: raw.execute(statement, (to_ms(now), limit)).fetchall())
        return [row["name"] for row in rows]

    async def next_unwanted(self) -> datetime | None:
        row = await self._database.read(
            lambda raw: raw.execute("SELECT min(due_ms) AS due_ms FROM unwanted_videos").fetchone()
        )
        return from_ms(row["due_ms"])

    async def forget_video(self, name: str, *, now: datetime) -> None:
        statement = "DELETE FROM unwanted_videos WHERE due_ms <= ? AND name = ?"
        await self._database.write(lambda raw: raw.execute(statement, (to_ms(now), name)))

    async def _drop_old(self, before: datetime, *, dry_run: bool) -> AsyncIterator[Swept]:
        async for step in self._drop(_ALL, id_at(before), "dropped", dry_run=dry_run):
            yield step

    async def _walked(self, walk: Walk, *, dry_run: bool) -> AsyncIterator[Swept]:
        place: Place | None = walk.start
        while place is not None:
            keys, place = await self._look(walk, place)
            if dry_run:
                yield Swept(what=walk.what, count=len(keys))
                continue
            for start in range(0, len(keys), walk.step):
                yield Swept(what=walk.what, count=await self._remove(walk, keys[start : start + walk.step]))
            yield Swept(what=walk.what, count=0)

    async def _look(self, walk: Walk, place: Place) -> tuple[Keys, Place | None]:
        return await self._database.read(lambda raw: walk.look(raw, place))

    async def _remove(self, walk: Walk, keys: Keys) -> int:
        return await self._database.write(lambda raw: walk.remove(raw, keys))

    async def _compress(self, before: str) -> AsyncIterator[Swept]:
        through: str | None = await self._through("compressed")
        while through is not None:
            packed, through = await self._pack(through, before)
            if through is not None:
                yield Swept(what="bodies compressed", count=await self._keep_packed(packed, through))

    async def _pack(self, after: str, before: str) -> tuple[list[bodies.Packed], str | None]:
        return await self._database.read(lambda raw: bodies.pack_next(raw, after, before, ROWS_AT_A_TIME))

    async def _keep_packed(self, packed: list[bodies.Packed], through: str) -> int:
        def work(raw: Raw) -> int:
            note_through(raw, "compressed", through)
            return bodies.keep_packed(raw, packed)

        return await self._database.write(work)

    async def _drop(self, statement: str, before: str, name: str | None, *, dry_run: bool) -> AsyncIterator[Swept]:
        after = await self._through(name) if name else ""
        while ids := await self._ids(statement, after, before):
            after = ids[-1]
            count = len(ids) if dry_run else await self._drop_these(ids, name)
            yield Swept(what="bodies", count=count)

    async def _ids(self, statement: str, after: str, before: str) -> list[str]:
        values = (after, before, ROWS_AT_A_TIME)
        rows = await self._database.read(lambda raw: raw.execute(statement, values).fetchall())
        return [row["id"] for row in rows]

    async def _drop_these(self, ids: Sequence[str], name: str | None) -> int:
        def work(raw: Raw) -> int:
            if name is not None:
                note_through(raw, name, ids[-1])
            return bodies.drop(raw, msgspec.json.encode(ids).decode())

        return await self._database.write(work)

    async def _through(self, what: str) -> str:
        statement = "SELECT through FROM pruning WHERE what = ?"
        row = await self._database.read(lambda raw: raw.execute(statement, (what,)).fetchone())
        return row["through"] if row else ""
