"""Videos in an object store: a real S3 server, started by the tests."""

import asyncio
import contextlib
import logging
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import obstore
import pytest
from obstore.store import S3Store

from replyhook.errors import ConfigurationError
from replyhook.ids import new_id
from replyhook_receiver.errors import StorageTrouble
from replyhook_receiver.places import Bucket
from replyhook_receiver.storage.base import Storage
from replyhook_receiver.storage.local import LocalStorage
from replyhook_receiver.storage.objects import ObjectStorage
from tests.contracts.storage_contract import NAME, StorageContract, pattern, put, whole
from tests.receiver.object_store import ACCESS_KEY, BUCKET, SECRET_KEY, ObjectServer
from tests.receiver.support import a_host, says, until

LARGE = 60 * 1024 * 1024
"""Seven parts and a bit, so that an upload can be stopped between them."""


def bucket_at(endpoint: str, prefix: str) -> Bucket:
    return Bucket(scheme="s3", name=BUCKET, prefix=prefix, endpoint=endpoint)


@pytest.fixture
def prefix() -> str:
    """A corner of the bucket of the test's own."""
    return new_id("job")


@pytest.fixture
def seen(object_server: ObjectServer, prefix: str) -> S3Store:
    """The same corner, looked at without us."""
    return S3Store(BUCKET, prefix=prefix, endpoint=object_server.endpoint, client_options={"allow_http": True})


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def storage(object_server: ObjectServer, prefix: str, spool: Path) -> ObjectStorage:
    return ObjectStorage(bucket_at(object_server.endpoint, prefix), LocalStorage(spool))


def names_in(seen: S3Store) -> list[str]:
    return [entry["path"] for entry in obstore.list(seen).collect()]


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


class TestObjectStorage(StorageContract):
    LARGE = 20 * 1024 * 1024

    @pytest.fixture(autouse=True)
    def _looked_at(self, seen: S3Store) -> None:
        self.seen = seen

    @pytest.fixture
    def storage(self, object_server: ObjectServer, prefix: str, spool: Path) -> Iterator[Storage]:
        yield ObjectStorage(bucket_at(object_server.endpoint, prefix), LocalStorage(spool))
        # A part that was on its way when its upload was given up may come afterwards: that is the lifecycle rule's.
        object_server.forget_unfinished()

    async def names(self, storage: Storage) -> list[str]:  # noqa: ARG002 - the contract's
        return names_in(self.seen)


async def test_an_object_tells_what_it_is_and_nothing_stays_behind_on_this_machine(
    storage: ObjectStorage, seen: S3Store, spool: Path
) -> None:
    sha256 = await put(storage, NAME, pattern(LARGE), chunk=LARGE)
    attributes = obstore.get(seen, NAME).attributes
    assert attributes["sha256"] == sha256
    assert attributes["Content-Type"] == "video/mp4"
    assert attributes["Content-Disposition"] == 'inline; filename="job_06gzv450ms5sr0bq1v26sekk1e.mp4"'
    assert files_in(spool) == []


async def test_a_link_opens_this_video_alone_and_only_for_reading(storage: ObjectStorage, prefix: str) -> None:
    await put(storage, NAME, pattern(5000))
    link = await storage.link(NAME, seconds=60)
    assert link is not None
    assert parse_qs(urlsplit(link).query)["X-Amz-Expires"] == ["60"]
    assert SECRET_KEY not in link
    async with httpx.AsyncClient() as anybody:
        part = await anybody.get(link, headers={"range": "bytes=10-19"})
        assert (part.status_code, part.content) == (206, pattern(5000)[10:20])
        assert (await anybody.get(link)).headers["content-type"] == "video/mp4"
        assert (await anybody.put(link, content=b"x")).status_code == 403
        assert (await anybody.get(link.replace(prefix, prefix + "x"))).status_code == 403
        assert (await anybody.get(link.partition("?")[0])).status_code == 403


async def test_a_stopped_upload_leaves_no_object_and_no_parts_and_is_done_from_here_later(
    storage: ObjectStorage, object_server: ObjectServer, seen: S3Store, spool: Path
) -> None:
    for attempt in range(3):  # a part that was on its way may come after its upload was given up
        object_server.forget_unfinished()
        keeping = asyncio.create_task(put(storage, NAME, pattern(LARGE), chunk=LARGE))
        await until(object_server.unfinished)
        keeping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await keeping
        assert names_in(seen) == []
        if not object_server.unfinished():
            break
        assert attempt < 2, "parts were left three times out of three"
    assert [path.stat().st_size for path in files_in(spool)] == [LARGE]
    waiting = await storage.taken_in(NAME)
    assert waiting is not None
    await waiting.keep()
    assert await whole(storage, NAME) == pattern(LARGE)
    assert files_in(spool) == []


KILLED = """
import asyncio, sys
from pathlib import Path
from replyhook_receiver.storage.local import LocalStorage
from replyhook_receiver.storage.objects import ObjectStorage
from tests.contracts.storage_contract import NAME, pattern, put
from tests.receiver.storage.test_objects import LARGE, bucket_at

endpoint, prefix, spool = sys.argv[1:]
storage = ObjectStorage(bucket_at(endpoint, prefix), LocalStorage(Path(spool)))
asyncio.run(put(storage, NAME, pattern(LARGE), chunk=LARGE))
"""


async def test_killed_in_the_middle_it_is_uploaded_after_the_restart(
    storage: ObjectStorage, object_server: ObjectServer, seen: S3Store, spool: Path, prefix: str
) -> None:
    object_server.forget_unfinished()
    command = [sys.executable, "-c", KILLED, object_server.endpoint, prefix, str(spool)]
    process = subprocess.Popen(command, cwd=Path(__file__).parents[3])  # noqa: ASYNC220 - started, not waited for
    try:
        await until(object_server.unfinished, seconds=60)
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
    assert names_in(seen) == []
    waiting = await storage.taken_in(NAME)
    assert waiting is not None
    await waiting.keep()
    assert names_in(seen) == [NAME]
    assert await whole(storage, NAME) == pattern(LARGE)
    object_server.forget_unfinished()


@pytest.mark.parametrize("why", ["nobody there", "wrong key", "no such bucket"])
async def test_what_cannot_be_uploaded_waits_here_and_the_trouble_names_no_address_and_no_key(
    object_server: ObjectServer,
    storage: ObjectStorage,
    spool: Path,
    prefix: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    why: str,
) -> None:
    caplog.set_level(logging.DEBUG)
    bucket = bucket_at(object_server.endpoint, prefix)
    if why == "nobody there":
        bucket = bucket_at("http://127.0.0.1:9", prefix)
    elif why == "wrong key":
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "other-geheim")
    else:
        bucket = Bucket(scheme="s3", name="a.bucket.that.is.not.there", prefix="", endpoint=object_server.endpoint)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKNOBODY")
    broken = ObjectStorage(bucket, LocalStorage(spool))
    with pytest.raises(StorageTrouble) as caught:
        await put(broken, NAME, pattern(1000))
    assert caught.value.retryable
    assert caught.value.__cause__ is None
    expected = {"nobody there": "no connection", "wrong key": "SignatureDoesNotMatch", "no such bucket": "HTTP 403"}
    shown = f"{caught.value} {broken!r} {caplog.text}"
    assert expected[why] in str(caught.value)
    for secret in ("127.0.0.1", SECRET_KEY, ACCESS_KEY, "AKNOBODY", "geheim", prefix):
        assert secret not in shown
    waiting = await storage.taken_in(NAME)
    assert waiting is not None
    await waiting.keep()
    assert await whole(storage, NAME) == pattern(1000)
    assert files_in(spool) == []


async def test_what_the_store_does_not_show_as_it_was_sent_is_removed_and_sent_again(
    object_server: ObjectServer, spool: Path
) -> None:
    del object_server  # for its credentials alone
    async with a_host() as liar:
        path = f"/{BUCKET}/{NAME}"
        liar.will(path, says(200, b"", etag='"1"'))
        storage = ObjectStorage(bucket_at(liar.url, ""), LocalStorage(spool))
        with pytest.raises(StorageTrouble, match=r"as it was sent|remove"):
            await put(storage, NAME, pattern(1000))
        assert [path.stat().st_size for path in files_in(spool)] == [1000]


async def test_where_no_link_can_be_signed_there_is_none(
    spool: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "geheim")
    monkeypatch.setenv("AZURE_SKIP_SIGNATURE", "true")
    storage = ObjectStorage(Bucket(scheme="az", name=BUCKET, prefix=""), LocalStorage(spool))
    assert await storage.link(NAME, seconds=60) is None
    assert await storage.link(NAME, seconds=60) is None
    assert caplog.text.count("passed through") == 1
    assert "geheim" not in caplog.text + repr(storage)


@pytest.mark.parametrize("scheme", ["s3", "gs", "az"])
def test_without_the_extra_the_settings_are_refused_with_the_line_that_installs_it(scheme: str) -> None:
    program = f"""
        import sys
        sys.modules["obstore"] = None
        from replyhook_receiver.config import Settings
        from replyhook_receiver.storage.chosen import storage_for
        storage_for(Settings())
        storage_for(Settings(storage_url="{scheme}://videos/x"))
    """
    ran = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert "pip install 'replyhook[cloud]'" in ran.stderr.strip().splitlines()[-1]


def test_an_account_that_is_not_named_is_a_configuration_error(spool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with contextlib.suppress(KeyError):
        monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME")
    with pytest.raises(ConfigurationError, match="AZURE_STORAGE_ACCOUNT_NAME"):
        ObjectStorage(Bucket(scheme="az", name=BUCKET, prefix=""), LocalStorage(spool))


MEASURED = """
import asyncio, resource, sys
from pathlib import Path
from replyhook_receiver.storage.local import LocalStorage
from replyhook_receiver.storage.objects import ObjectStorage
from tests.contracts.storage_contract import NAME, put
from tests.receiver.storage.test_objects import bucket_at

endpoint, prefix, spool, megabytes = sys.argv[1:]
MEGABYTE = bytes(range(256)) * 4096

def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

async def take_in(storage, name, megabytes):
    async with storage.incoming(name) as part:
        for _ in range(megabytes):
            await part.write(MEGABYTE)
        await part.keep()

async def main():
    storage = ObjectStorage(bucket_at(endpoint, prefix), LocalStorage(Path(spool)))
    await take_in(storage, "warm.mp4", 1)
    before = peak()
    await take_in(storage, NAME, int(megabytes))
    kept = peak()
    async for _ in storage.read(NAME, 0, int(megabytes) * len(MEGABYTE)):
        pass
    print(before, kept, peak())

asyncio.run(main())
"""


def test_a_large_video_goes_there_and_comes_back_in_little_memory(
    object_server: ObjectServer, spool: Path, prefix: str
) -> None:
    command = [sys.executable, "-c", MEASURED, object_server.endpoint, prefix, str(spool), "250"]
    ran = subprocess.run(command, cwd=Path(__file__).parents[3], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    before, kept, read = map(int, ran.stdout.split())
    assert kept - before < 80, ran.stdout
    assert read - before < 80, ran.stdout
