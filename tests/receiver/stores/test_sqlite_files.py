"""A database that is deleted, moved or replaced while it is open takes nothing more, and says so."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from replyhook_receiver.errors import StoreUnavailable
from replyhook_receiver.stores.sqlite import SQLiteStore
from tests.contracts.store_contract import a_job, describe, report, running


def delete(path: Path) -> None:
    for each in path.parent.iterdir():
        each.unlink()


def delete_log(path: Path) -> None:
    path.with_name(f"{path.name}-wal").unlink()


def move(path: Path) -> None:
    path.parent.rename(path.parent.with_name("moved"))


def replace(path: Path) -> None:
    copy = path.with_name("copy")
    shutil.copy(path, copy)
    copy.replace(path)


@pytest.mark.parametrize("happens", [delete, delete_log, move, replace])
async def test_what_would_be_gone_with_the_process_is_not_acknowledged(
    tmp_path: Path, happens: Callable[[Path], None]
) -> None:
    path = tmp_path / "data" / "replyhook.db"
    store = SQLiteStore(path, describe=describe)
    await store.open()
    try:
        await store.accept(report(a_job(), running(1)))
        assert await store.check()
        happens(path)
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match="removed or replaced"):
                await store.accept(report(a_job(), running(2, "r-2")))
        assert not await store.check()
    finally:
        await store.close()
