"""Places for downloads: nobody keeps one from others for long, and a link that ends soon is given one in time."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from replyhook.jobs import AssetStatus, JobStatus
from replyhook_receiver.errors import NetworkTrouble, ReceiverTrouble, TurnOver
from replyhook_receiver.records import JobRecord
from replyhook_receiver.storage.local import LocalStorage
from replyhook_receiver.stores.links import Links, WaitingLink
from replyhook_receiver.work.hosts import MediaHosts, host_of
from replyhook_receiver.work.turns import Patience, Turns
from tests.contracts.store.material import succeeded
from tests.receiver.media_host import PIECE, serves
from tests.receiver.support import Answer, Host, a_host, says, until
from tests.receiver.work.bench import Bench, a_bench, now

HOSTS = ("127.0.0.1", "127.0.0.5")
OFTEN = 0.02


@pytest.fixture(scope="session")
def long_video(clip: bytes) -> bytes:
    """A video of many pieces."""
    return clip + (PIECE * 24 + 8).to_bytes(4, "big") + b"free" + hashlib.shake_256(b"noise").digest(PIECE * 24)


def one_by_one(content: bytes, **more: Any) -> Answer:
    """It comes slowly when it is asked for as a whole, and at once when it is the rest."""
    slowly, at_once = serves(content, seconds_a_piece=0.1, **more), serves(content, **more)

    async def answer(request: Any) -> Any:
        return await (at_once if request.headers.get("range") else slowly)(request)

    return answer


async def told(bench: Bench, url: str, *, minutes: float) -> str:
    job = await bench.job(provider_job_id=None)
    end = int((now() + timedelta(minutes=minutes)).timestamp())
    await bench.hears(job, succeeded(f"{url}?Expires={end}&Signature=x", None))
    return job


async def stored(bench: Bench, job: str) -> bool:
    return (await bench.known(job)).asset.status is AssetStatus.STORED


@asynccontextmanager
async def two_places(folder: Path, host: Host, patience: Patience) -> AsyncIterator[Bench]:
    async with a_bench(folder, host, places=2, media_hosts=HOSTS, patience=patience, max_bytes=2**23) as bench:
        yield bench


async def held_by_two(bench: Bench, video: bytes, *, minutes: float = 600, **more: Any) -> list[str]:
    urls = [bench.host.will(f"/{number}.mp4", one_by_one(video, **more)) for number in range(2)]
    jobs = [await told(bench, url, minutes=minutes) for url in urls]
    await until(lambda: bench.host.asked("/0.mp4") and bench.host.asked("/1.mp4"))
    return jobs


async def test_a_link_that_ends_soon_gets_a_place_and_what_gave_way_goes_on_where_it_stopped(
    tmp_path: Path, host: Host, long_video: bytes, clip: bytes
) -> None:
    async with a_host("127.0.0.5") as other, two_places(tmp_path, host, Patience(look_seconds=0.1)) as bench:
        slow = await held_by_two(bench, long_video)
        urgent = await told(bench, other.will("/good.mp4", says(200, clip)), minutes=1)
        await until(lambda: stored(bench, urgent), seconds=60)
        assert [await stored(bench, job) for job in slow] == [False, False]
        await until(lambda: any(headers.get("range") for *_, headers, _ in host.seen))
        for job in slow:
            await until(lambda job=job: stored(bench, job))
        assert sum(1 for *_, headers, _ in host.seen if headers.get("range")) == 1  # one gave way, once
        assert {row[0] for row in bench.rows("SELECT attempts FROM tasks WHERE kind = 'download'")} == {1}


async def test_what_cannot_be_gone_on_with_gives_way_to_it_once_it_is_seen_to_be_slow(
    tmp_path: Path, host: Host, long_video: bytes, clip: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("replyhook_receiver.work.turns._SLOW_BYTES_PER_SECOND", PIECE * 16)
    patience = Patience(look_seconds=OFTEN, slow_after_seconds=0.3)
    async with a_host("127.0.0.5") as other, two_places(tmp_path, host, patience) as bench:
        slow = await held_by_two(bench, long_video, etag=None)
        urgent = await told(bench, other.will("/good.mp4", says(200, clip)), minutes=1)
        await until(lambda: stored(bench, urgent), seconds=60)
        assert [await stored(bench, job) for job in slow] == [False, False]


async def test_a_link_that_has_time_waits_for_the_end_of_a_turn(
    tmp_path: Path, host: Host, long_video: bytes, clip: bytes
) -> None:
    patience = Patience(turn_seconds=0.5, look_seconds=OFTEN)
    async with a_host("127.0.0.5") as other, two_places(tmp_path, host, patience) as bench:
        slow = await held_by_two(bench, long_video, minutes=60)
        patient = await told(bench, other.will("/good.mp4", says(200, clip)), minutes=600)
        await until(lambda: stored(bench, patient), seconds=60)
        ended = bench.rows("SELECT attempts, due_ms - created_ms FROM tasks WHERE problem LIKE 'others wait%'")
        # One gives way, or both where the first is long about it.
        assert {attempts for attempts, _ in ended} == {0}  # which was no try
        # Though its link ends first, it does not have its place back at once.
        assert all(later > 60_000 for _, later in ended)
        assert [await stored(bench, job) for job in slow] == [False, False]


class OneWaits:
    """Links of which one waits for a place, for ever."""

    async def first_waiting(self, *, now: datetime) -> list[WaitingLink]:
        return [WaitingLink(url="https://other.example/v.mp4", ends_at=now + timedelta(days=1))]

    async def held(self, *, now: datetime) -> list[str]:  # noqa: ARG002 - the protocol's
        return []


@pytest.mark.parametrize(("came", "error"), [(150, TurnOver), (50, NetworkTrouble)])
async def test_a_try_that_came_no_further_than_the_one_before_is_counted(
    tmp_path: Path, came: int, error: type[ReceiverTrouble]
) -> None:
    turns = Turns(
        links=cast("Links", OneWaits()),
        counted_as=host_of,
        places=1,
        per_host=1,
        now=now,
        patience=Patience(turn_seconds=0, look_seconds=0),
    )
    job = JobRecord(
        id="job_1", provider="fal", account="a", registered=True, status=JobStatus.SUCCEEDED, created_at=now()
    )
    async with LocalStorage(tmp_path).incoming("one.mp4", resume=True) as part:
        await part.begin(b"note")
        await part.write(b"x" * 100)
        with turns.take(job, "https://slow.example/v.mp4") as turn:
            turn.begin(part)
            await part.begin(b"note")  # the host does not go on with it
            await part.write(b"x" * came)
            with pytest.raises(error):
                await turn.look(part)


async def test_while_nobody_waits_a_download_takes_its_time(tmp_path: Path, host: Host, long_video: bytes) -> None:
    patience = Patience(turn_seconds=0.1, longest_seconds=0.1, look_seconds=OFTEN)
    async with two_places(tmp_path, host, patience) as bench:
        for job in await held_by_two(bench, long_video):
            await until(lambda job=job: stored(bench, job))
        assert not any(headers.get("range") for *_, headers, _ in host.seen)


def test_all_names_that_an_entry_covers_are_one_host() -> None:
    hosts = MediaHosts([".fal.media", "media.pixverse.ai", ".v3.fal.media"])
    urls = ("https://a.v3.fal.media/x", "https://b.FAL.media:8443/y", "https://media.pixverse.ai/z")
    assert [hosts.counted_as(url) for url in urls] == [".fal.media", ".fal.media", "media.pixverse.ai"]
    nobodys = ("https://a.b.example/x", "https://c.example/y", "http://10.1.2.3/z", "http://[::1]/", "https://[", "")
    assert [hosts.counted_as(url) for url in nobodys] == ["b.example", "c.example", "10.1.2.3", "::1", "", ""]
