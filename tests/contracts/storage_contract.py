"""What every place for videos must do, as inherited tests: subclass, and give it a ``storage`` and its ``names``."""

import asyncio
import contextlib
import hashlib
from datetime import UTC, datetime, timedelta

import pytest

from replyhook.ids import new_id
from replyhook_receiver.errors import PartInUse, StorageTrouble
from replyhook_receiver.storage.base import Storage, poster_name, rejected_name, video_name

NAME = video_name("job_06gzv450ms5sr0bq1v26sekk1e", datetime(2026, 11, 21, tzinfo=UTC))
HOSTILE = [
    "", "/", ".", "..", "../x.mp4", "a/../../x.mp4", "a/../x.mp4", "/etc/passwd", "a//b.mp4", "a/", "a/.b.mp4", "~/x",
    "a\\..\\b.mp4", "a\x00b.mp4", "a\nb.mp4", "a b.mp4", "ä.mp4", "%2e%2e/x", "a?b", "a#b", "C:x", "x" * 300,
    "/".join("abcdefgh" for _ in range(80)), "a/./b.mp4", "-/../x",
]  # fmt: skip


def pattern(size: int, seed: int = 1) -> bytes:
    """Bytes of which no two stretches are alike."""
    return hashlib.shake_256(str(seed).encode()).digest(size)


async def put(storage: Storage, name: str, content: bytes, *, chunk: int = 100_000) -> str:
    """Take in and keep."""
    async with storage.incoming(name) as part:
        for start in range(0, len(content), chunk):
            await part.write(content[start : start + chunk])
        await part.flush()
        assert part.size == len(content)
        assert part.path.read_bytes() == content
        return await part.keep()


async def whole(storage: Storage, name: str, start: int = 0, stop: int | None = None) -> bytes:
    """What is stored, or a part of it."""
    if stop is None:
        size = await storage.size(name)
        assert size is not None
        stop = size
    return b"".join([bytes(chunk) async for chunk in storage.read(name, start, stop)])


class StorageContract:
    """Inherit, and give it a fixture ``storage``."""

    LARGE = 3_000_000
    """Bytes of a video that this place takes in more than one piece."""

    @pytest.fixture
    def storage(self) -> Storage:
        raise NotImplementedError

    async def names(self, storage: Storage) -> list[str]:
        """Everything that can be seen in the place, by its name there."""
        raise NotImplementedError

    @pytest.mark.parametrize("size", [1, 100_000, 0])
    async def test_what_is_kept_is_there_under_its_name_and_nothing_else(self, storage: Storage, size: int) -> None:
        content = pattern(size) if size else pattern(self.LARGE)
        assert await put(storage, NAME, content) == hashlib.sha256(content).hexdigest()
        assert await storage.size(NAME) == len(content)
        assert await whole(storage, NAME) == content
        assert await self.names(storage) == [NAME]

    async def test_what_is_settled_waits_for_a_look_and_is_no_video_before_it(self, storage: Storage) -> None:
        content = pattern(200_000)
        with contextlib.suppress(asyncio.CancelledError):
            async with storage.incoming(NAME) as part:
                await part.write(content)
                await part.settle()
                with pytest.raises(PartInUse):
                    async with storage.unchecked(NAME):
                        pass
                raise asyncio.CancelledError
        assert (await self.names(storage), await storage.taken_in(NAME), storage.has_waiting()) == ([], None, False)
        storage.sweep()
        async with storage.unchecked(NAME) as unchecked:
            assert unchecked is not None
            assert (unchecked.size, unchecked.path.read_bytes()) == (len(content), content)
        async with storage.unchecked(NAME) as unchecked:  # it was let go, and neither kept nor rejected
            assert unchecked is not None
            assert await unchecked.keep() == hashlib.sha256(content).hexdigest()
        assert await whole(storage, NAME) == content
        async with storage.unchecked(NAME) as unchecked:
            assert unchecked is None

    async def test_what_is_settled_and_kept_at_once_is_there(self, storage: Storage) -> None:
        async with storage.incoming(NAME) as part:
            await part.write(pattern(1000))
            await part.settle()
            assert await part.keep() == hashlib.sha256(pattern(1000)).hexdigest()
        assert await self.names(storage) == [NAME]
        assert await whole(storage, NAME) == pattern(1000)

    @pytest.mark.parametrize("is_stopped", [False, True])
    async def test_what_is_rejected_is_put_aside_and_is_no_video(self, storage: Storage, is_stopped: bool) -> None:
        async with storage.incoming(NAME) as part:
            await part.write(pattern(1000))
            await part.settle()
            aside = part.path.with_name(rejected_name(NAME).rpartition("/")[2])
            if not is_stopped:
                await part.reject()
        if is_stopped:
            async with storage.unchecked(NAME) as unchecked:
                assert unchecked is not None
                await unchecked.reject()
        assert aside.read_bytes() == pattern(1000)
        async with storage.unchecked(NAME) as unchecked:
            assert unchecked is None
        assert (await storage.taken_in(NAME), await storage.size(NAME)) == (None, None)
        written = datetime.fromtimestamp(aside.stat().st_mtime, UTC)
        assert (storage.remove_rejected(before=written - timedelta(seconds=1)), aside.exists()) == (0, True)
        assert (storage.remove_rejected(before=written + timedelta(seconds=1)), aside.exists()) == (1, False)

    async def test_what_has_come_so_far_of_a_video_is_told(self, storage: Storage) -> None:
        assert storage.so_far(NAME) is None
        async with storage.incoming(NAME, resume=True) as part:
            await part.begin(b"a note")
            await part.write(pattern(1000))
            await part.flush()
            assert storage.so_far(NAME) == 1000
        assert storage.so_far(NAME) == 1000
        await storage.forget(NAME)
        assert storage.so_far(NAME) is None

    async def test_what_is_not_kept_was_never_there(self, storage: Storage) -> None:
        async with storage.incoming(NAME) as part:
            await part.write(pattern(1000))
            await part.flush()
            assert await self.names(storage) == []
            assert await storage.size(NAME) is None
        with contextlib.suppress(ZeroDivisionError):
            async with storage.incoming(NAME) as part:
                await part.write(pattern(1000))
                raise ZeroDivisionError
        assert await self.names(storage) == []
        assert await storage.taken_in(NAME) is None

    async def test_keeping_the_same_again_changes_nothing(self, storage: Storage) -> None:
        content = pattern(self.LARGE)
        first = await put(storage, NAME, content)
        assert await put(storage, NAME, content) == first
        assert await whole(storage, NAME) == content
        assert await self.names(storage) == [NAME]

    async def test_the_last_kept_is_what_is_there_even_at_the_same_length(self, storage: Storage) -> None:
        await put(storage, NAME, pattern(5000, seed=1))
        await put(storage, NAME, pattern(5000, seed=2))
        assert await whole(storage, NAME) == pattern(5000, seed=2)

    @pytest.mark.parametrize("name", HOSTILE)
    async def test_a_name_that_is_none_of_ours_is_refused_everywhere(self, storage: Storage, name: str) -> None:
        with pytest.raises(ValueError, match="name"):
            async with storage.incoming(name):
                pass
        with pytest.raises(ValueError, match="name"):
            await storage.taken_in(name)
        with pytest.raises(ValueError, match="name"):
            await storage.size(name)
        with pytest.raises(ValueError, match="name"):
            await storage.link(name, seconds=60)
        with pytest.raises(ValueError, match="name"):
            [chunk async for chunk in storage.read(name, 0, 1)]
        assert await self.names(storage) == []

    async def test_parts_are_read_wherever_they_begin_and_end(self, storage: Storage) -> None:
        content = pattern(self.LARGE)
        await put(storage, NAME, content)
        edge = 256 * 1024
        for start, stop in [
            (0, 1),
            (1, 2),
            (edge - 1, edge + 1),
            (edge, 3 * edge + 5),
            (len(content) - 1, len(content)),
        ]:
            assert await whole(storage, NAME, start, stop) == content[start:stop]

    async def test_what_is_not_there_is_none_and_reading_it_is_trouble(self, storage: Storage) -> None:
        assert await storage.size(NAME) is None
        assert await storage.taken_in(NAME) is None
        with pytest.raises(StorageTrouble):
            await whole(storage, NAME, 0, 1)
        await put(storage, NAME, pattern(10))
        with pytest.raises(StorageTrouble):
            await whole(storage, NAME, 5, 11)
        assert await storage.size(NAME.replace(".mp4", "")) is None
        assert await storage.size(NAME.rpartition("/")[0]) is None

    async def test_what_was_kept_but_not_noted_can_be_kept_again_without_its_bytes(self, storage: Storage) -> None:
        content = pattern(self.LARGE)
        sha256 = await put(storage, NAME, content)
        again = await storage.taken_in(NAME)
        assert again is not None
        assert again.size == len(content)
        assert again.path.read_bytes() == content
        assert await again.keep() == sha256
        assert await whole(storage, NAME) == content
        assert await self.names(storage) == [NAME]

    @pytest.mark.parametrize("steps", [0, 1, 3, 10, 30])
    async def test_stopped_while_it_is_kept_it_is_there_whole_or_not_at_all(self, storage: Storage, steps: int) -> None:
        content = pattern(self.LARGE)
        written = asyncio.Event()

        async def keep() -> None:
            async with storage.incoming(NAME) as part:
                await part.write(content)
                written.set()
                await part.keep()

        keeping = asyncio.create_task(keep())
        await written.wait()
        for _ in range(steps):
            await asyncio.sleep(0.002)
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        size = await storage.size(NAME)
        assert size in (None, len(content))
        assert await self.names(storage) == ([] if size is None else [NAME])
        assert await put(storage, NAME, content) == hashlib.sha256(content).hexdigest()
        assert await whole(storage, NAME) == content

    async def test_many_at_once_do_not_touch_each_other(self, storage: Storage) -> None:
        names = [video_name(new_id("job"), datetime(2026, 11, day, tzinfo=UTC)) for day in range(1, 13)]
        digests = await asyncio.gather(
            *(put(storage, name, pattern(50_000 + number, seed=number)) for number, name in enumerate(names))
        )
        assert sorted(await self.names(storage)) == sorted(names)
        for number, name in enumerate(names):
            assert hashlib.sha256(await whole(storage, name)).hexdigest() == digests[number]

    async def test_what_is_removed_is_gone_with_its_poster_and_may_be_removed_again(self, storage: Storage) -> None:
        await storage.put(poster_name(NAME), pattern(10))
        await put(storage, NAME, pattern(1000))
        await storage.remove(NAME)
        assert await self.names(storage) == []
        assert await storage.size(NAME) is None
        await storage.remove(NAME)
