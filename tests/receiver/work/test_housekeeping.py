"""Throwing away what is old in a receiver that runs: when, and with the files."""

import os
from datetime import timedelta
from pathlib import Path

from replyhook_receiver.config import Settings
from replyhook_receiver.storage.local import LocalStorage
from replyhook_receiver.stores.sqlite import SQLiteStore
from replyhook_receiver.work.housekeeping import Housekeeping, keep_for, remove_unwanted
from tests.contracts.storage_contract import pattern, put
from tests.contracts.store.material import (
    LEASE,
    NOW,
    VIDEO,
    Done,
    TaskKind,
    a_job,
    describe,
    one_task,
    report,
    submitted,
    succeeded,
)
from tests.receiver.sqlite_file import lay
from tests.receiver.support import Clock, until

DAY = timedelta(days=1)


async def test_the_first_round_is_planned_and_a_restart_does_not_put_it_off(tmp_path: Path) -> None:
    clock = Clock(NOW)
    store = SQLiteStore(lay(tmp_path / "replyhook.db"), describe=describe)
    await store.open()
    storage = LocalStorage(tmp_path / "videos")
    try:
        job = a_job()
        await submitted(store, job)
        await store.accept(report(job, succeeded()))
        task = await one_task(store, TaskKind.DOWNLOAD)
        await put(storage, VIDEO.name, pattern(100))
        await store.finish(task, Done(video=VIDEO), now=NOW)
        keep = keep_for(Settings(keep_videos_days=1))

        async def nothing_is_unwanted() -> bool:
            return await store.retention.next_unwanted() is None

        for _ in range(2):
            housekeeping = Housekeeping(store=store, storage=storage, keep=keep, now=clock)
            housekeeping.start()
            await until(store.retention.next_round)
            await housekeeping.stop()
        assert await store.retention.next_round() == NOW + timedelta(minutes=10)
        assert storage.local_path(VIDEO.name) is not None
        aside = [tmp_path / "videos" / f"{days}.mp4.rejected" for days in (29, 31)]
        for path, days in zip(aside, (29, 31), strict=True):
            path.write_bytes(b"no video")
            os.utime(path, ((NOW + 2 * DAY - days * DAY).timestamp(),) * 2)
        clock.move(days=2)
        housekeeping = Housekeeping(store=store, storage=storage, keep=keep, now=clock)
        housekeeping.start()
        await until(lambda: storage.local_path(VIDEO.name) is None, seconds=60)
        await until(nothing_is_unwanted, seconds=60)
        await housekeeping.stop()
        assert await store.retention.next_round() == clock() + DAY
        assert [path.exists() for path in aside] == [True, False]
        assert await store.claim([TaskKind.DOWNLOAD], limit=9, lease=LEASE, now=clock()) == []
        assert await remove_unwanted(store, storage, now=clock()) == 0
    finally:
        await store.close()


async def test_nothing_is_thrown_away_while_the_work_is_on_hold(tmp_path: Path) -> None:
    clock = Clock(NOW)
    store = SQLiteStore(lay(tmp_path / "replyhook.db"), describe=describe)
    await store.open()
    try:
        await store.retention.plan_round(NOW - DAY)
        await store.holding.begin("", now=NOW)
        keep = keep_for(Settings())
        housekeeping = Housekeeping(store=store, storage=LocalStorage(tmp_path / "videos"), keep=keep, now=clock)
        assert await housekeeping._do_what_is_due() == timedelta(hours=1)
        assert await store.retention.next_round() == NOW - DAY
    finally:
        await store.close()
