"""The public API as its users' type checkers see it. Checked by ``mypy --strict``; never run."""

import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import Any, assert_type

import replyhook


def plain() -> None:
    with replyhook.Client(receiver_url="https://hooks.example", api_key="rk", provider_keys={"fal": "sk"}) as client:
        assert_type(client, replyhook.Client)
        job = client.submit(
            provider="fal",
            video="https://a.example/in.mp4",
            prompt="a boat turns",
            duration=5,
            quality="540p",
            options={"tier": 1},
            reply_ref="order-42",
            user="u_7",
            notify=["https://my.app/hooks", {"url": "https://my.app/more", "types": ["job.failed"]}],
            on_upload=lambda sent, total: print(sent, total),
        )
        assert_type(job, replyhook.JobHandle)
        assert_type(job.id, str)
        assert_type(job.provider, str)
        assert_type(job.reference, str | None)
        assert_type(job.provider_job_id, str | None)
        assert job.request is not None
        assert_type(job.request.duration, int | None)
        assert_type(job.wait(), replyhook.Notification)
        assert_type(job.wait(timeout=600, until="succeeded"), replyhook.Notification)
        assert_type(job.wait(past_overdue=True), replyhook.Notification)
        for told in job.events(timeout=600):
            assert_type(told, replyhook.Notification)
        result = job.result()
        assert_type(result, replyhook.JobResult)
        assert_type(result.video, replyhook.VideoResult)
        assert_type(result.video.sha256, str | None)
        assert_type(job.download(Path("out.mp4")), Path)
        job.download("out.mp4", on_progress=lambda done, total: print(done, total))
        assert_type(client.job(job.id), replyhook.JobHandle)
        assert_type(client.jobs(reference="order-42", limit=5), replyhook.JobPage)
        assert_type(client.jobs().data[0].status.is_terminal, bool)
        job.cancel()
        heard: list[str] = []
        subscribed = client.subscribe(
            provider=["fal", "useapi"],
            video=b"mp4",
            prompt="x",
            prefer="price",
            max_price=0.5,
            patience=20,
            on_event=lambda told: heard.append(told.type),
            wait_timeout=60,
        )
        assert_type(subscribed, replyhook.JobHandle)
        assert_type(subscribed.warnings, tuple[str, ...])
        for video in ("in.mp4", Path("in.mp4"), b"mp4", replyhook.VideoSource.provider_job("v-1")):
            client.submit(provider="useapi", video=video, prompt="a boat turns")
        with Path("in.mp4").open("rb") as file:
            client.submit(provider="useapi", video=file, prompt="a boat turns")
    assert_type(replyhook.Client.from_env(), replyhook.Client)


async def in_async() -> None:
    async with replyhook.AsyncClient(receiver_url="https://hooks.example", api_key="rk") as client:
        assert_type(client, replyhook.AsyncClient)
        told: list[tuple[int, int | None]] = []
        job = await client.submit(
            provider="fal",
            video=b"mp4",
            prompt="a boat turns",
            on_upload=lambda sent, total: told.append((sent, total)),
        )
        assert_type(job, replyhook.AsyncJobHandle)
        assert_type(job.reference, str | None)
        assert_type(await job.wait(timeout=600), replyhook.Notification)
        async for event in job.events():
            assert_type(event, replyhook.Notification)
        assert_type(await job.result(), replyhook.JobResult)
        assert_type(await job.download("out.mp4"), Path)
        assert_type(await client.job(job.id), replyhook.AsyncJobHandle)
        assert_type(await client.subscribe(provider="fal", video=b"mp4", prompt="x"), replyhook.AsyncJobHandle)
        await job.cancel()
    assert_type(replyhook.AsyncClient.from_env({}), replyhook.AsyncClient)


def in_the_users_app(headers: dict[str, str], body: bytes) -> None:
    notification = replyhook.verify_notification(headers, body, "whsec_…")
    replyhook.verify_notification(headers, body, ["whsec_new", "whsec_old"])
    assert_type(notification, replyhook.Notification)
    assert_type(notification.id, str)
    assert_type(notification.type, str)
    assert_type(notification.timestamp, dt.datetime)
    assert_type(notification.data, dict[str, Any])


def errors(client: replyhook.Client) -> None:
    try:
        client.submit(provider="fal", video=b"mp4", prompt="a boat turns").wait(1.5)
    except replyhook.InvalidRequest as error:
        assert_type(error.field, str)
        assert_type(error.value, object)
        assert_type(error.allowed, str)
    except replyhook.SubmissionRefused as error:
        assert_type(error.status, int | None)
        assert_type(error.code, str | None)
    except replyhook.JobOverdue as error:
        assert_type(error.reason, str)
    except replyhook.JobFailed as error:
        assert_type(error.code, str | None)
    except replyhook.ReplyhookError as error:
        assert_type(error.retryable, bool)


def choosing(client: replyhook.Client) -> None:
    job = client.submit(
        provider=["fal", "useapi"], video=b"mp4", prompt="x", prefer="price", max_price=Decimal("0.5"), patience=20
    )
    assert_type(job.tried, tuple[tuple[str, replyhook.ReplyhookError], ...])
    client.submit(provider="auto", video=b"mp4", prompt="x", max_price=0.5)
    for estimate in client.estimate(video=b"mp4", prompt="x", duration=5):
        assert_type(estimate.provider, str)
        assert_type(estimate.problem, replyhook.ReplyhookError | None)
        if estimate.price is not None:
            assert_type(estimate.price.highest, Decimal)
    for offer in replyhook.providers():
        assert_type(offer.durations, tuple[int, ...])
    try:
        client.submit(provider="auto", video=b"mp4", prompt="x")
    except replyhook.NoProviderLeft as error:
        assert_type(error.reasons, tuple[tuple[str, replyhook.ReplyhookError], ...])


def mistakes(client: replyhook.Client) -> None:
    """Each of these is an error to the type checker; if one no longer were, its ignore would be one."""
    client.submit(provider="fal", video=b"mp4", prompt="x", prefer="luck")  # type: ignore[arg-type] # no such order
    client.submit(provider="fal", video=b"mp4")  # type: ignore[call-arg] # no prompt
    client.submit(provider="fal", video=b"mp4", prompt="x", seconds=5)  # type: ignore[call-arg] # no such argument
    client.submit(provider="fal", video=b"mp4", prompt="x", duration="5")  # type: ignore[arg-type] # not a number
    client.submit(provider="fal", video=7, prompt="x")  # type: ignore[arg-type] # not a video
    client.submit(provider="fal", video=b"mp4", prompt="x").wait(until="paid")  # type: ignore[arg-type] # no such end
