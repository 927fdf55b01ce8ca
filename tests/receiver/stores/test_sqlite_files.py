"""A database that is deleted, moved or replaced while it is open takes nothing more, and says so."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from replyhook_receiver.errors import StoreUnavailable
from replyhook_receiver.stores.sqlite import SQLiteStore, upkeep
from replyhook_receiver.stores.sqlite.copying import a_side
from tests.contracts.store.material import a_job, describe, report, running


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


@pytest.fixture
def others_may_read(tmp_path: Path) -> Iterator[None]:
    tmp_path.chmod(0o755)
    before = os.umask(0o022)
    yield
    os.umask(before)


def modes(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}


@pytest.mark.usefixtures("others_may_read")
async def test_a_new_database_is_private_in_a_folder_that_is_not(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "replyhook.db", describe=describe)
    await store.open()
    try:
        await store.accept(report(a_job(), running(1)))
        found = modes(tmp_path)
    finally:
        await store.close()
    assert found == {"replyhook.db": 0o600, "replyhook.db-wal": 0o600, "replyhook.db-shm": 0o600}


@pytest.mark.usefixtures("others_may_read")
def test_an_operators_new_databases_are_private_too(tmp_path: Path) -> None:
    upkeep.migrate(tmp_path / "migrated.db")
    with a_side(tmp_path / "copied.db", is_target=True):
        pass
    assert set(modes(tmp_path).values()) == {0o600}
