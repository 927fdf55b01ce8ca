"""The handle against a receiver and providers that really run, each in a process of its own."""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from replyhook import AsyncClient, CancelNotPossible, Client, InvalidRequest, JobFailed, JobNotFound, JobOverdue
from replyhook.jobs import AssetStatus, JobStatus
from tests.library.conftest import Driver
from tests.stage import Stage, a_stage

pytest.importorskip("av", reason="the sandbox makes real videos")


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with a_stage(tmp_path_factory.mktemp("stage")) as running:
        yield running


@pytest.fixture
def client(drive: Driver, stage: Stage) -> Any:
    return drive.opened(drive.kind.from_env(stage.env))


def asked(stage: Stage, provider: str = "useapi", prompt: str = "on") -> dict[str, Any]:
    return {"provider": provider, "video": stage.source, "prompt": prompt, "duration": 5, "quality": "360p"}


def test_a_subscriber_sees_the_progress_and_nobody_asks_for_a_status(
    drive: Driver, client: Any, stage: Stage, tmp_path: Path
) -> None:
    heard: list[tuple[str, int | None]] = []
    before = stage.calls("useapi").get("status", 0)
    job = drive(
        client.subscribe(
            **asked(stage),
            reply_ref="order-42",
            user="u_7",
            on_event=lambda told: heard.append((told.type, told.data["progress"])),
            wait_timeout=30,
        )
    )
    kinds = [kind for kind, _ in heard]
    assert kinds[-1] == "video.stored"
    assert "job.running" in kinds
    assert stage.calls("useapi").get("status", 0) == before
    result = drive(job.result())
    assert (result.status, result.video.status, result.error) == (JobStatus.SUCCEEDED, AssetStatus.STORED, None)
    assert (result.reference, result.user, result.provider_job_id) == ("order-42", "u_7", None)  # it holds an address
    sizes: list[tuple[int, int | None]] = []
    path = drive(job.download(tmp_path / "out.mp4", on_progress=lambda done, total: sizes.append((done, total))))
    assert sizes[-1] == (result.video.bytes, result.video.bytes) == (path.stat().st_size,) * 2
    assert "order" not in repr(result)


def test_a_job_is_found_again_by_another_client(drive: Driver, client: Any, stage: Stage, tmp_path: Path) -> None:
    first = drive(client.submit(**asked(stage, "fal"), reply_ref="order-43"))
    again = drive(drive.opened(drive.kind.from_env(stage.env)).job(first.id))
    assert (again.id, again.provider, again.reference) == (first.id, "fal", "order-43")
    assert again.provider_job_id == first.provider_job_id
    assert again.request is None
    assert drive(again.wait(30)).type == "video.stored"
    assert drive(again.wait(30)).type == "video.stored"
    assert drive(again.download(tmp_path / "out.mp4")).stat().st_size > 1000
    assert [told.type for told in drive.all(again.events(30))][-1] == "video.stored"


def test_a_page_of_jobs_is_gone_through_itself_newest_first(drive: Driver, client: Any, stage: Stage) -> None:
    reference = f"on a page, {drive.kind.__name__}"
    ids = [drive(client.submit(**asked(stage), reply_ref=reference)).id for _ in range(2)]
    page = drive(client.jobs(reference=reference))
    assert ([found.id for found in page], len(page), page.has_more) == (ids[::-1], 2, False)
    assert [found.id for found in drive(client.jobs(reference=reference, overdue=False))] == ids[::-1]
    for wanted in ({"overdue": True}, {"video": "lost"}, {"expiring": True, "limit": 1}):
        assert len(drive(client.jobs(reference=reference, **wanted))) == 0, wanted
    with pytest.raises(InvalidRequest) as refused:
        drive(client.jobs(video="gone"))
    assert (refused.value.field, "lost" in refused.value.allowed) == ("video", True)


@pytest.mark.parametrize("job_id", ["job_06gzvyj6038xt427xgy6esgkjx", "order-42", "../v1/stream", "a b?c#d"])
def test_a_job_that_nobody_knows_is_not_found(drive: Driver, client: Any, job_id: str) -> None:
    with pytest.raises(JobNotFound):
        drive(client.job(job_id))


def test_a_wait_after_the_overruled_failure_gets_the_paid_video(drive: Driver, client: Any, stage: Stage) -> None:
    """fal's imitation tells a failure first, then the video: who was there hears both, who comes later sees the end."""
    job = drive(client.submit(**asked(stage, "fal", "[[fault:reordered]]")))
    with pytest.raises(JobFailed):
        drive(job.wait(30))
    while drive(job.result()).video.status is not AssetStatus.STORED:
        drive.pause(0.05)
    assert drive(job.wait(30)).type == "video.stored"
    kinds = [told.type for told in drive.all(job.events(30))]
    assert kinds[0] == "job.failed"
    assert kinds[-1] == "video.stored"


def test_a_failed_job_says_why(drive: Driver, client: Any, stage: Stage) -> None:
    job = drive(client.submit(**asked(stage, "fal", "[[fault:failed]]")))
    with pytest.raises(JobFailed) as caught:
        drive(job.wait(30))
    result = drive(job.result())
    assert result.status is JobStatus.FAILED
    assert result.error is not None
    assert result.error.message in str(caught.value)


def test_a_job_is_canceled_at_the_provider_and_its_callback_ends_the_wait(
    drive: Driver, client: Any, stage: Stage
) -> None:
    job = drive(client.submit(**asked(stage, "fal", "[[fault:never]]")))
    found = drive(client.job(job.id))
    drive(found.cancel())
    assert stage.calls("fal")["cancel"] >= 1
    done = drive(client.submit(**asked(stage, "fal")))
    drive(done.wait(30))
    with pytest.raises(CancelNotPossible, match="completed"):
        drive(done.cancel())


def test_a_canceled_job_ends_as_canceled(drive: Driver, client: Any, stage: Stage) -> None:
    job = drive(client.submit(**asked(stage, "fal")))
    drive(job.cancel())
    with pytest.raises(JobFailed, match="cancel"):
        drive(job.wait(30))
    assert drive(job.result()).status is JobStatus.CANCELED


def test_what_cannot_be_canceled_is_said_before_anything_is_sent(drive: Driver, client: Any, stage: Stage) -> None:
    job = drive(client.submit(**asked(stage, "useapi")))
    with pytest.raises(CancelNotPossible, match="useapi has no way"):
        drive(job.cancel())
    keyless = {name: value for name, value in stage.env.items() if not name.endswith("__API_KEY")}
    job = drive(client.submit(**asked(stage, "fal")))
    before = stage.calls("fal").get("cancel", 0)
    with pytest.raises(CancelNotPossible, match="FAL_KEY"):
        drive(drive(drive.opened(drive.kind.from_env(keyless)).job(job.id)).cancel())
    assert stage.calls("fal").get("cancel", 0) == before


def test_an_overdue_job_is_waited_for_no_longer_than_there_is_hope(tmp_path: Path) -> None:
    """A success without its result, which a receiver without the provider's key cannot ask for."""
    with a_stage(tmp_path, providers__useapi__api_key="") as stage, Client.from_env(stage.env) as client:
        job = client.submit(**asked(stage, "useapi", "[[fault:no_result]]"))
        for _ in range(2):  # as long as nothing changes, the answer is the same
            with pytest.raises(JobOverdue) as caught:
                job.wait(30)
            assert caught.value.job is job
        assert job.result().overdue_reason == caught.value.reason
        assert caught.value.reason.startswith("no_provider_key: ")
        (warning,) = job.warnings  # and the registration had said so
        assert warning.startswith("no_provider_key: ")


def test_a_wait_goes_on_across_a_killed_receiver(tmp_path: Path) -> None:
    with a_stage(tmp_path, speed=12) as stage, Client.from_env(stage.env) as client:
        job = client.submit(**asked(stage))
        heard: list[tuple[str, str]] = []
        failures: list[BaseException] = []

        def listen() -> None:
            try:
                heard.extend((told.id, told.type) for told in job.events(40))
            except BaseException as error:
                failures.append(error)

        async def wait() -> str:
            async with AsyncClient.from_env(stage.env) as other:
                return (await (await other.job(job.id)).wait(40)).type

        ended: list[str] = []
        threads = [
            threading.Thread(target=listen),
            threading.Thread(target=lambda: ended.append(asyncio.run(wait()))),
        ]
        for thread in threads:
            thread.start()
        with closing(job.events(20)) as events:  # type: ignore[type-var] # a generator, whatever it is announced as
            assert any(told.type == "job.running" for told in events)
        stage.kill_receiver()
        time.sleep(0.5)
        stage.start_receiver()
        for thread in threads:
            thread.join(timeout=60)
    assert not failures
    assert ended == ["video.stored"]
    assert len(set(heard)) == len(heard)  # nothing twice
    kinds = [kind for _, kind in heard]
    assert [*kinds[-2:], "job.running" in kinds] == ["job.succeeded", "video.stored", True]


def test_a_detached_job_ends_with_its_video_at_the_receiver(tmp_path: Path) -> None:
    """Submitted by a program without any key of the receiver's; found and waited for by one with its API key."""
    key = "u_7:detached-0123456789-0123456789"
    with a_stage(tmp_path, reply_keys=key, allow_detached="true") as stage, Client.from_env(stage.env) as client:
        without = {
            name: value for name, value in stage.env.items() if "RECEIVER" not in name and name[10:] != "API_KEY"
        }
        keyed = without | {"REPLYHOOK_REPLY_KEYS": key, "REPLYHOOK_PUBLIC_URL": stage.receiver_url}
        with Client.from_env(keyed) as detached:
            submitted = [
                detached.submit(**asked(stage, name), reply_ref=name) for name in ("fal", "useapi", "aihubmax")
            ]
        for made in submitted:
            job = _once_known(client, made.id)
            assert job.wait(30).data["video"]["status"] == "stored"
            result = job.result()
            assert (result.user, result.reference) == ("u_7", made.provider)


def _once_known(client: Client, job_id: str) -> Any:
    deadline = time.monotonic() + 20
    while True:
        try:
            return client.job(job_id)
        except JobNotFound:
            assert time.monotonic() < deadline
            time.sleep(0.05)
