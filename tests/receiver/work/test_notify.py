"""Bringing notifications to a real endpoint, which verifies them with the standard's own package."""

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from standardwebhooks import Webhook, WebhookVerificationError

import replyhook
from replyhook_receiver.lifecycle import TaskKind
from replyhook_receiver.tasks import Task
from tests.contracts.store.material import failed, running
from tests.receiver.support import PERSONAL_ID, WHSEC, Answer, Host, a_host, drips, says, until
from tests.receiver.work.bench import OLDER_WHSEC, TRIES, Bench, a_bench, now, target

HOOK = "/hooks"
OWN_SECRET = "whsec_" + "T1dO" * 10


@pytest.fixture
async def bench(tmp_path: Path, host: Host) -> AsyncIterator[Bench]:
    async with a_bench(tmp_path, host) as running_bench:
        yield running_bench


async def failing(bench: Bench, *answers: Answer, secret: str | None = None, **more: object) -> str:
    """A job that failed, whose endpoint answers so; its id."""
    url = bench.host.will(HOOK, *answers)
    job = await bench.job(notify=(target(f"{url}?key=geheim", secret=secret),), **more)
    await bench.hears(job, failed(provider_job_id=None))
    return job


def delivered(bench: Bench) -> list[tuple[str, int | None, str | None]]:
    """Every delivery as the store has it: status, answer, problem."""
    return bench.rows("SELECT status, answer, problem FROM deliveries")


@pytest.mark.parametrize("status", [200, 201, 204, 299])
async def test_a_notification_is_signed_and_delivered_once(bench: Bench, status: int) -> None:
    job = await failing(bench, says(status))
    await bench.at_rest()
    ((method, _, headers, body),) = bench.host.seen
    assert (method, headers["content-type"]) == ("POST", "application/json")
    content = Webhook(WHSEC).verify(body, headers)
    assert (content["type"], content["data"]["id"], content["data"]["reference"]) == ("job.failed", job, "order-42")
    assert content["data"]["error"] == {"code": "422", "message": "it broke"}
    read = replyhook.verify_notification(headers, body, WHSEC)
    assert (read.type, read.id) == ("job.failed", headers["webhook-id"])
    (notification,) = await bench.store.notifications(after=0)
    assert (notification.id, notification.body) == (headers["webhook-id"], body)
    assert delivered(bench) == [("delivered", status, None)]


async def test_while_a_secret_is_rotated_both_verify_and_no_other(bench: Bench) -> None:
    await failing(bench, says(200))
    await bench.at_rest()
    ((_, _, headers, body),) = bench.host.seen
    for secret in (WHSEC, OLDER_WHSEC):
        assert Webhook(secret).verify(body, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(OWN_SECRET).verify(body, headers)


async def test_an_endpoints_own_secret_is_the_only_one_that_signs_for_it(bench: Bench) -> None:
    await failing(bench, says(200), secret=OWN_SECRET)
    await bench.at_rest()
    ((_, _, headers, body),) = bench.host.seen
    assert Webhook(OWN_SECRET).verify(body, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(WHSEC).verify(body, headers)


async def test_a_personal_provider_id_is_not_told(bench: Bench) -> None:
    url = bench.host.will(HOOK, says(200))
    job = await bench.job("useapi", provider_job_id=PERSONAL_ID, notify=(target(url),))
    await bench.hears(job, failed(provider_job_id=PERSONAL_ID), provider="useapi")
    await bench.at_rest()
    assert b"jane.doe" not in bench.host.seen[0][3]


@pytest.mark.parametrize("first", [500, 503, 404, 400, 429, 302, 307])
async def test_a_refused_notification_is_brought_again_with_the_same_id_and_a_fresh_signature(
    bench: Bench, first: int
) -> None:
    await failing(bench, says(first, location="/elsewhere"), says(200))
    await bench.at_rest()
    assert [seen[1] for seen in bench.host.seen] == [HOOK, HOOK]
    (*_, one, body), (*_, two, again) = bench.host.seen
    assert one["webhook-id"] == two["webhook-id"]
    assert body == again
    assert Webhook(WHSEC).verify(again, two)
    assert delivered(bench) == [("delivered", 200, None)]


async def test_one_that_always_refuses_ends_as_a_dead_letter(bench: Bench) -> None:
    await failing(bench, says(500, b"geheim"))
    await bench.at_rest()
    assert bench.host.asked(HOOK) == TRIES
    ((status, _, problem),) = delivered(bench)
    assert (status, problem) == ("dead", "the endpoint answered 500")


async def test_an_endpoint_that_is_gone_is_not_called_again(bench: Bench) -> None:
    await failing(bench, says(410))
    await bench.at_rest()
    assert bench.host.asked(HOOK) == 1
    assert delivered(bench)[0][0] == "dead"


async def test_an_endpoint_that_asks_for_a_pause_gets_it(bench: Bench) -> None:
    await failing(bench, says(429, retry_after="120"))
    await until(lambda: delivered(bench)[0][2])
    due = await bench.store.next_due(now=now())
    assert due is not None
    assert 115 < (due - now()).total_seconds() <= 121


@pytest.mark.parametrize("answer", [says(200, b"x" * 100_000), drips(0, b"x" * 4096)], ids=["long", "endless"])
async def test_a_success_is_a_success_however_much_is_said_with_it(bench: Bench, answer: Answer) -> None:
    await failing(bench, answer)
    await bench.at_rest()
    assert bench.host.asked(HOOK) == 1
    assert delivered(bench)[0][0] == "delivered"


async def test_nobody_listening_is_tried_again_without_showing_the_url(bench: Bench) -> None:
    async with a_host() as gone:
        url = gone.url
    job = await bench.job(notify=(target(f"{url}/hooks?key=geheim"),))
    await bench.hears(job, failed(provider_job_id=None))
    await bench.at_rest()
    ((status, _, problem),) = delivered(bench)
    assert status == "dead"
    assert "geheim" not in (problem or "")


async def test_a_place_that_became_private_is_refused_when_it_is_used(bench: Bench) -> None:
    job = await bench.job(notify=(target("https://10.0.0.1/hooks?key=geheim"),))
    await bench.hears(job, failed(provider_job_id=None))
    await bench.at_rest()
    ((status, _, problem),) = delivered(bench)
    assert status == "dead"
    assert "Private" in (problem or "")
    assert "geheim" not in (problem or "")


async def test_one_bad_endpoint_does_not_keep_a_notification_from_the_others(bench: Bench) -> None:
    good, bad = bench.host.will("/good", says(200)), bench.host.will("/bad", says(500))
    job = await bench.job(notify=(target(bad), target(good), target(good, types=())))
    await bench.hears(job, failed(provider_job_id=None))
    await bench.at_rest()
    assert sorted(status for status, *_ in delivered(bench)) == ["dead", "delivered", "delivered"]
    ids = {seen[2]["webhook-id"] for seen in bench.host.seen}
    assert len(ids) == 1, "one notification has one id wherever it goes"


async def test_notifications_of_a_job_tell_how_it_stood_when_they_were_made(bench: Bench) -> None:
    url = bench.host.will(HOOK, says(200))
    kinds = ("job.running", "job.failed")
    job = await bench.job(notify=(target(url, types=kinds),))
    await bench.hears(job, running(40))
    await until(lambda: bench.host.seen)
    await bench.hears(job, failed())
    await bench.at_rest()
    said = {seen["type"]: seen["data"] for seen in (msgspec.json.decode(entry[3]) for entry in bench.host.seen)}
    assert (said["job.running"]["status"], said["job.running"]["progress"]) == ("running", 40)
    assert said["job.failed"]["status"] == "failed"


async def test_a_delivery_made_is_not_made_again(bench: Bench) -> None:
    await failing(bench, says(200))
    await bench.at_rest()
    ((delivery,),) = bench.rows("SELECT id FROM deliveries")
    task = Task(kind=TaskKind.NOTIFY, subject=delivery, attempt=2, lease="x", lease_until=now())
    assert (await bench.handlers[TaskKind.NOTIFY].run(task)).answer is None
    assert bench.host.asked(HOOK) == 1
