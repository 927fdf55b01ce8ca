"""A download that is cut off goes on where it stopped, in whatever process, and never ends in a bad file."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from replyhook.jobs import AssetStatus
from replyhook_receiver.lifecycle import TaskKind
from replyhook_receiver.retries import RetryPolicy
from replyhook_receiver.storage import part as part_module
from replyhook_receiver.storage.base import video_name
from replyhook_receiver.storage.local import LocalStorage
from replyhook_receiver.tasks import Task
from replyhook_receiver.work import worker as worker_module
from replyhook_receiver.work.receiving import Bounds
from tests.contracts.store.material import succeeded
from tests.receiver.media_host import ANSWERED, MODIFIED, serves
from tests.receiver.support import Answer, Host, a_host, drips, says, until
from tests.receiver.work.bench import SOON, Bench, a_bench, now

OFTEN = RetryPolicy(delays=(0.01,) * 8, jitter=0.0)


@pytest.fixture
async def bench(tmp_path: Path, host: Host) -> AsyncIterator[Bench]:
    async with a_bench(tmp_path, host, policy=OFTEN, max_bytes=8 * 1024 * 1024) as running:
        yield running


@pytest.fixture(scope="session")
def video(clip: bytes) -> bytes:
    """A video of some size: what follows its moving pictures is noise in a box that is free."""
    size = 2 * 1024 * 1024
    noise = hashlib.shake_256(b"noise").digest(size)
    return clip + (size + 8).to_bytes(4, "big") + b"free" + noise


async def downloaded(bench: Bench, url: str) -> str:
    job = await bench.job(provider_job_id=None)
    await bench.hears(job, succeeded(url, None))
    await bench.at_rest()
    return job


def ranges(host: Host, path: str = "/one.mp4") -> list[str | None]:
    """What was asked for, request by request."""
    return [headers.get("range") for _, asked, headers, _ in host.seen if asked == path]


async def assert_stored(bench: Bench, job: str, video: bytes) -> None:
    asset = (await bench.known(job)).asset
    assert (asset.status, asset.problem) == (AssetStatus.STORED, None)
    assert (asset.bytes, asset.sha256) == (len(video), hashlib.sha256(video).hexdigest())
    assert [path.read_bytes() for path in bench.videos()] == [video]
    assert {path.suffix for path in bench.files()} == {".mp4", ".jpg"}  # and nothing else


async def test_after_cuts_only_the_rest_is_asked_for(bench: Bench, video: bytes) -> None:
    answer = serves(video, cut_after=500_000)
    url = bench.host.will("/one.mp4", answer)
    await assert_stored(bench, await downloaded(bench, url), video)
    asked = ranges(bench.host)
    assert asked[:2] == [None, "bytes=500000-"]
    assert len(asked) == -(-len(video) // 500_000)
    assert bench.host.seen[1][2]["if-range"] == '"v1"'


async def test_a_small_piece_is_kept_too(bench: Bench, clip: bytes) -> None:
    url = bench.host.will("/one.mp4", serves(clip, cut_after=len(clip) // 3 + 1))
    await assert_stored(bench, await downloaded(bench, url), clip)
    assert ranges(bench.host) == [None, f"bytes={len(clip) // 3 + 1}-", f"bytes={2 * (len(clip) // 3 + 1)}-"]


async def test_the_date_of_the_last_change_will_do(bench: Bench, video: bytes) -> None:
    answers = [
        serves(video, etag=etag, modified=MODIFIED, date=ANSWERED, cut_after=cut)
        for etag, cut in ((None, 9_000), (None, None))
    ]
    url = bench.host.will("/one.mp4", *answers)
    await assert_stored(bench, await downloaded(bench, url), video)
    assert bench.host.seen[1][2]["if-range"] == MODIFIED


@pytest.mark.parametrize("etag", ['W/"v1"', "v1", '"\xe9"', '"a"b"', '""', '"' + "v" * 5000 + '"'])
async def test_what_has_no_strong_validator_that_can_be_sent_back_is_begun_anew(
    bench: Bench, video: bytes, etag: str
) -> None:
    url = bench.host.will("/one.mp4", serves(video, etag=etag, cut_after=9_000), serves(video, etag=etag))
    await assert_stored(bench, await downloaded(bench, url), video)
    assert ranges(bench.host) == [None, None]


async def test_a_fresh_signature_on_the_same_link_goes_on(tmp_path: Path, host: Host, video: bytes) -> None:
    url = host.will("/one.mp4", serves(video, cut_after=300_000), says(403), serves(video))
    async with a_bench(tmp_path, host, policy=RetryPolicy(delays=(0.01, 60), jitter=0.0), max_bytes=2**23) as bench:
        job = await bench.job(provider_job_id=None)
        await bench.hears(job, succeeded(f"{url}?signature=old", None))
        await until(lambda: host.asked("/one.mp4") == 2)
        await bench.hears(job, succeeded(f"{url}?signature=fresh", None))
        await bench.at_rest()
        await assert_stored(bench, job, video)
    assert ranges(host) == [None, "bytes=300000-", "bytes=300000-"]


CUT = 700_000


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("ignores ranges", 2),
        ("changed etag", 2),
        ("changed etag, answers with a piece", 3),
        ("wrong piece", 3),
        ("other length", 3),
        ("no piece at all", 3),
        ("shorter now", 3),
    ],
)
async def test_what_is_not_the_rest_of_the_same_is_begun_anew(
    bench: Bench, video: bytes, clip: bytes, name: str, asked: int
) -> None:
    def piece(**headers: str) -> Answer:
        return says(206, video[CUT:], **({"etag": '"v1"'} | headers))

    length = len(video)
    second = {
        "ignores ranges": serves(video, ranges=False),
        "changed etag": serves(video, etag='"v2"'),
        "changed etag, answers with a piece": piece(content_range=f"bytes {CUT}-{length - 1}/{length}", etag='"v2"'),
        "wrong piece": piece(content_range=f"bytes {CUT + 1}-{length - 1}/{length}"),
        "other length": piece(content_range=f"bytes {CUT}-{length}/{length + 1}"),
        "no piece at all": piece(),
        "shorter now": serves(clip, etag='"v1"'),
    }[name]
    url = bench.host.will("/one.mp4", serves(video, cut_after=CUT), second, serves(video))
    await assert_stored(bench, await downloaded(bench, url), video)
    assert ranges(bench.host) == [None, f"bytes={CUT}-", None][:asked]


async def test_a_part_that_is_whole_already_is_not_fetched_again(bench: Bench, video: bytes) -> None:
    """It was killed between the last byte and the end of the checks."""
    url = bench.host.will("/one.mp4", serves(video, cut_after=len(video) - 1))
    await bench.worker.stop()
    _, run = await a_try_that_is_cut(bench, url)
    (file,) = [path for path in bench.files() if path.name.endswith(".mp4.part")]
    with file.open("ab") as opened:
        opened.write(video[-1:])
    done = await run()
    assert done.video is not None
    assert done.video.sha256 == hashlib.sha256(video).hexdigest()
    assert ranges(bench.host) == [None, f"bytes={len(video)}-"]


async def a_try_that_is_cut(bench: Bench, url: str):  # type: ignore[no-untyped-def] # the second is the next try
    job = await bench.job(provider_job_id=None)
    await bench.hears(job, succeeded(url, None))
    task = Task(kind=TaskKind.DOWNLOAD, subject=job, attempt=1, lease="x", lease_until=now() + SOON)

    def run():  # type: ignore[no-untyped-def]
        return bench.handlers[TaskKind.DOWNLOAD].run(task)

    with pytest.raises(Exception, match=r"Error|cut"):
        await run()
    return job, run


@pytest.mark.parametrize("change", ["another boot", "no note", "a broken note", "a note of another link"])
async def test_what_nobody_vouches_for_is_begun_anew(
    bench: Bench, video: bytes, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = bench.host.will("/one.mp4", serves(video, cut_after=CUT), serves(video))
    await bench.worker.stop()
    _, run = await a_try_that_is_cut(bench, url)
    (note,) = [path for path in bench.files() if path.name.endswith(".note.part")]
    if change == "another boot":
        monkeypatch.setattr(part_module, "_boot", lambda: b"another")
    elif change == "no note":
        note.unlink()
    else:
        boot, content = note.read_bytes().split(b"\n")
        broken = content[:-3] if change == "a broken note" else content.replace(b'"link":"', b'"link":"f')
        note.write_bytes(boot + b"\n" + broken)
    done = await run()
    assert done.video.sha256 == hashlib.sha256(video).hexdigest()
    assert ranges(bench.host) == [None, None]


async def test_two_never_write_the_same_part(tmp_path: Path) -> None:
    one, other = LocalStorage(tmp_path), LocalStorage(tmp_path)
    async with one.incoming("a/b.mp4", resume=True) as part:
        await part.begin(b"note")
        await part.write(b"x" * 10)
        with pytest.raises(part_module.PartInUse):
            async with other.incoming("a/b.mp4", resume=True):
                raise AssertionError
        await other.forget("a/b.mp4")
    async with other.incoming("a/b.mp4", resume=True) as part:
        assert (part.size, part.note) == (10, b"note")
        assert await part.keep() == hashlib.sha256(b"x" * 10).hexdigest()
    assert other.unfinished() == []
    assert other.local_path("a/b.mp4") is not None


async def test_a_worker_that_finds_the_part_taken_waits_and_loses_no_try(bench: Bench, video: bytes) -> None:
    url = bench.host.will("/one.mp4", serves(video))
    job = await bench.job(provider_job_id=None)
    async with LocalStorage(bench.folder).incoming(video_name(job, now()), resume=True):
        await bench.hears(job, succeeded(url, None))
        await until(lambda: bench.rows("SELECT problem FROM tasks WHERE kind = 'download' AND problem IS NOT NULL"))
        assert bench.rows("SELECT state, attempts FROM tasks WHERE kind = 'download'") == [("ready", 0)]
    assert bench.host.seen == []


async def test_a_page_is_noticed_at_its_first_bytes(tmp_path: Path, host: Host) -> None:
    url = host.will("/one.mp4", drips(0.01, b"<!doctype html>"))
    async with a_bench(tmp_path, host, bounds=Bounds(max_bytes=2**30, window_seconds=60)) as bench:
        job = await downloaded(bench, url)
        asset = (await bench.known(job)).asset
        assert (asset.status, "ftyp" in (asset.problem or "")) == (AssetStatus.FAILED, True)


async def test_a_body_that_drips_is_given_up_and_a_slow_one_is_taken(tmp_path: Path, host: Host, clip: bytes) -> None:
    bounds = Bounds(max_bytes=2**20, bytes_per_second=20_000, window_seconds=0.2)
    drip = host.will("/drip.mp4", drips(0.02, clip[:16], 500))
    slow = host.will("/slow.mp4", serves(clip * 1, seconds_a_piece=0.01))
    async with a_bench(tmp_path, host, bounds=bounds) as bench:
        one = await downloaded(bench, drip)
        asset = (await bench.known(one)).asset
        assert (asset.status, "bytes a second" in (asset.problem or "")) == (AssetStatus.FAILED, True)
        other = await downloaded(bench, slow)
        assert (await bench.known(other)).asset.status is AssetStatus.STORED


async def test_a_stop_in_the_middle_leaves_what_came_for_the_next_process(
    tmp_path: Path, host: Host, video: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "_STOP_SECONDS", 0.05)
    url = host.will("/one.mp4", serves(video, seconds_a_piece=0.02), serves(video))
    async with a_bench(tmp_path, host, max_bytes=2**23) as bench:
        job = await bench.job(provider_job_id=None)
        await bench.hears(job, succeeded(url, None))
        await until(lambda: host.asked("/one.mp4") == 1)
        await asyncio.sleep(0.2)
        await bench.worker.stop()
        assert any(path.name.endswith(".mp4.part") for path in bench.files())
    async with a_bench(tmp_path, host, max_bytes=2**23) as bench:
        await bench.at_rest()
        await assert_stored(bench, job, video)
    assert len(ranges(host)) == 2
    assert ranges(host)[1] is not None


async def test_what_a_lost_video_left_behind_is_cleared_away(tmp_path: Path, host: Host, video: bytes) -> None:
    url = host.will("/one.mp4", serves(video, cut_after=1000))
    async with a_bench(tmp_path, host, max_bytes=2**23) as bench:
        job = await downloaded(bench, url)
        assert (await bench.known(job)).asset.status is AssetStatus.FAILED
        await until(lambda: bench.files() == [])
        storage = LocalStorage(bench.folder)
        for name in (f"2026/11/21/{job}.mp4", "2026/11/21/job_of_nobody.mp4"):  # killed before it was cleared away
            async with storage.incoming(name, resume=True) as part:
                await part.begin(b"note")
                await part.write(b"x")
        assert len(storage.unfinished()) == 2
        await bench.download.clear_up()
        assert bench.files() == []


async def test_credentials_are_never_sent_along(bench: Bench, video: bytes) -> None:
    async with a_host("127.0.0.1") as other:
        other.will("/two.mp4", serves(video, cut_after=900_000), serves(video))
        url = bench.host.will("/one.mp4", says(302, location=f"{other.url}/two.mp4"))
        await assert_stored(bench, await downloaded(bench, url), video)
        assert ranges(other, "/two.mp4") == [None, "bytes=900000-"]
        for *_, headers, _ in (*other.seen, *bench.host.seen):
            assert {"authorization", "cookie", "referer"}.isdisjoint(headers)
