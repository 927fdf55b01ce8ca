"""Videos in a folder on this machine."""

from pathlib import Path

import pytest

from replyhook_receiver.storage.base import Storage
from replyhook_receiver.storage.local import LocalStorage
from tests.contracts.storage_contract import NAME, StorageContract, pattern, put


class TestLocalStorage(StorageContract):
    @pytest.fixture
    def storage(self, tmp_path: Path) -> Storage:
        self.folder = tmp_path / "videos"
        return LocalStorage(self.folder)

    async def names(self, storage: Storage) -> list[str]:  # noqa: ARG002 - the contract's
        files = [path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*") if path.is_file()]
        return [name for name in files if not Path(name).name.startswith(".")]


async def test_a_symbolic_link_that_leaves_the_folder_is_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secrets.json"
    secret.write_bytes(pattern(100))
    storage = LocalStorage(tmp_path / "videos")
    (tmp_path / "videos" / NAME).parent.mkdir(parents=True)
    (tmp_path / "videos" / NAME).symlink_to(secret)
    (tmp_path / "videos" / "elsewhere").symlink_to(tmp_path)
    for name in (NAME, "elsewhere/secrets.json"):
        for question in (storage.size(name), storage.taken_in(name)):
            with pytest.raises(ValueError, match="name"):
                await question
        with pytest.raises(ValueError, match="name"):
            [chunk async for chunk in storage.read(name, 0, 100)]
        with pytest.raises(ValueError, match="name"):
            await put(storage, name, b"over it")
    assert secret.read_bytes() == pattern(100)


async def test_a_folder_that_is_itself_a_link_is_the_operators_choice(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "videos").symlink_to(tmp_path / "disk")
    storage = LocalStorage(tmp_path / "videos")
    await put(storage, NAME, pattern(100))
    assert (tmp_path / "disk" / NAME).read_bytes() == pattern(100)
    assert await storage.link(NAME, seconds=60) is None
