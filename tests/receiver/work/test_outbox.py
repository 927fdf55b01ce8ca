"""The outbox at work: real endpoints that are slow, silent or gone, and what is kept of every try."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from replyhook_receiver.answers import Answer
from replyhook_receiver.endpoints import NewEndpoint
from replyhook_receiver.errors import DeliverySuperseded, UnknownDelivery
from replyhook_receiver.lifecycle import TaskKind
from replyhook_receiver.records import DeliveryStatus, NotifyTarget
from replyhook_receiver.retries import PROBED_AFTER, RetryPolicy
from replyhook_receiver.stores.deliveries import DeliveryFilter, WaitsFor
from replyhook_receiver.stores.sqlite import SQLiteStore
from replyhook_receiver.tasks import Dead, Done, Retry, Task
from tests.contracts.store.material import (
    HOOK,
    LEASE,
    NOW,
    SECOND,
    a_job,
    all_delivered,
    describe,
    failed,
    kinds_announced,
    one_task,
    report,
    running,
    submitted,
    succeeded,
)
from tests.receiver.sqlite_file import lay
from tests.receiver.support import Answer as Says
from tests.receiver.support import Host, pause, says, until
from tests.receiver.work.bench import Bench, a_bench, target

REFUSED = Answer(status=500)
PROGRESS_TOO = ("job.running", "job.succeeded", "job.failed")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SQLiteStore]:
    opened = SQLiteStore(lay(tmp_path / "replyhook.db"), describe=describe)
    await opened.open()
    yield opened
    await opened.close()


async def a_failure(store: SQLiteStore, number: int = 0, **more: Any) -> str:
    """A job that failed, so that there is one delivery; the job."""
    job = a_job(number)
    await submitted(store, job, provider_job_id=f"r-{number}", **more)
    await store.accept(report(job, failed(f"r-{number}")))
    return job


async def claimed(store: SQLiteStore, at: Any = NOW, limit: int = 50) -> list[Task]:
    return list(await store.claim([TaskKind.NOTIFY], limit=limit, lease=LEASE, now=at))


async def make_standing(store: SQLiteStore) -> None:
    """The endpoint belongs to no job any more, as those that are registered."""
    await store.database.write(lambda raw: raw.execute("UPDATE endpoints SET job_id = NULL"))


# At work


async def test_a_slow_endpoint_does_not_hold_up_a_fast_one(tmp_path: Path, host: Host) -> None:
    fast_are_done, begun = asyncio.Event(), []

    async def slow(request: Request) -> Response:
        begun.append(1)
        await asyncio.wait([asyncio.ensure_future(fast_are_done.wait())], timeout=60)
        await pause(request, 0)
        return PlainTextResponse("at last")

    slow_url, fast_url = host.will("/slow", slow), host.will("/fast", says(204))
    async with a_bench(tmp_path, host, make_store=partial(SQLiteStore, at_one_endpoint=2)) as bench:
        for _ in range(12):
            job = await bench.job(provider_job_id=None, notify=(target(slow_url), target(fast_url)))
            await bench.hears(job, failed(provider_job_id=None))
        await until(lambda: host.asked("/fast") == 12)
        assert len(begun) == 2, "more than two at a time went to the slow one"
        fast_are_done.set()
        await bench.at_rest()
    assert host.asked("/slow") == 12


async def test_each_try_is_kept_with_what_was_answered_and_nothing_secret(tmp_path: Path, host: Host) -> None:
    def echo(status: int) -> Says:
        async def answer(request: Request) -> Response:
            sent = f"{request.url} {dict(request.headers)} \x1b[31m" + "x" * 5000
            return PlainTextResponse("no! " + sent, status_code=status)

        return answer

    url = host.will("/hooks", echo(503), says(201, b"thanks"))
    async with a_bench(tmp_path, host) as bench:
        job = await bench.job(provider_job_id=None, notify=(target(f"{url}?key=geheim-geheim"),))
        await bench.hears(job, failed(provider_job_id=None))
        await bench.at_rest()
        (delivery,) = await bench.store.deliveries.page(DeliveryFilter())
        one, two = await bench.store.deliveries.attempts(delivery.id)
    assert (delivery.status, delivery.attempts, delivery.answer, delivery.problem) == ("delivered", 2, 201, None)
    assert (one.number, one.status, one.problem) == (1, 503, "the endpoint answered 503")
    assert (two.number, two.status, two.answer, two.problem) == (2, 201, "thanks", None)
    assert all(each.has_ended and each.took_ms is not None and 0 <= each.took_ms < 9_000 for each in (one, two))
    assert one.answer is not None
    assert one.answer.startswith("no! ")
    assert len(one.answer.encode()) <= 1024
    assert "geheim" not in one.answer
    assert "v1," not in one.answer


async def test_nobody_answering_is_kept_as_a_try_without_a_status(bench: Bench) -> None:
    job = await bench.job(provider_job_id=None, notify=(target("http://127.0.0.1:9/hook"),))
    await bench.hears(job, failed(provider_job_id=None))
    await bench.at_rest()
    (delivery,) = await bench.store.deliveries.page(DeliveryFilter(status=DeliveryStatus.DEAD))
    assert {each.status for each in await bench.store.deliveries.attempts(delivery.id)} == {None}


@pytest.fixture
async def bench(tmp_path: Path, host: Host) -> AsyncIterator[Bench]:
    async with a_bench(tmp_path, host) as running_bench:
        yield running_bench


async def test_notifications_of_a_job_arrive_in_their_order_however_often_one_is_refused(
    tmp_path: Path, host: Host
) -> None:
    url = host.will("/hooks", says(500), says(204), says(500), says(500), says(204))
    async with a_bench(tmp_path, host, policy=RetryPolicy(delays=(0.01,) * 9)) as bench:
        job = await bench.job(notify=(target(url, types=("job.running", "job.overdue")),))
        for progress in (10, 20, 30):
            await bench.hears(job, running(progress))
        await bench.at_rest()
    bodies = [msgspec.json.decode(entry[3])["data"]["progress"] for entry in host.seen]
    assert bodies == [10, 10, 20, 20, 20, 30]


# In the store


async def test_a_try_whose_process_was_killed_is_seen_as_such(store: SQLiteStore) -> None:
    await a_failure(store)
    (task,) = await claimed(store)
    (attempt,) = await store.deliveries.attempts(task.subject)
    assert (attempt.is_under_way, attempt.has_ended) == (True, False)
    (again,) = await claimed(store, NOW + LEASE)
    lost, running_now = await store.deliveries.attempts(again.subject)
    assert (lost.is_under_way, lost.has_ended, running_now.is_under_way) == (False, False, True)
    assert not await store.finish(task, Done(answer=Answer(status=200)), now=NOW + LEASE), "the lease is another's"
    assert (await store.deliveries.page(DeliveryFilter()))[0].status == "pending"


async def test_an_end_makes_waiting_progress_pointless_and_names_itself(store: SQLiteStore) -> None:
    job = a_job()
    types = tuple(PROGRESS_TOO)
    await submitted(store, job, notify=(NotifyTarget(url=HOOK, types=types),))
    await store.accept(report(job, running(10)))
    (first,) = await claimed(store)
    await store.accept(report(job, running(20)))
    await store.accept(report(job, succeeded()))
    assert await claimed(store) == [], "the first is under way"
    await store.finish(first, Retry(due_at=NOW + timedelta(hours=1), problem="500", answer=REFUSED), now=NOW)
    (last,) = await claimed(store)
    found = await store.deliveries.page(DeliveryFilter(job=job))
    end = next(each for each in found if each.type == "job.succeeded")
    assert last.subject == end.id
    progress = [each for each in found if each.type == "job.running"]
    assert [(each.status, each.superseded_by) for each in progress] == [("superseded", end.id)] * 2
    with pytest.raises(DeliverySuperseded):
        await store.deliveries.retry(progress[0].id, now=NOW)


async def test_an_endpoint_that_fails_is_tried_by_one_at_a_time_until_it_answers(store: SQLiteStore) -> None:
    for number in range(20):
        await a_failure(store, number)
    at = NOW
    first = await claimed(store)
    assert len(first) == 8
    for task in first:
        await store.finish(task, Retry(due_at=at + timedelta(days=1), problem="500", answer=REFUSED), now=at)
    assert await claimed(store, at) == [], "it was not left alone"
    for _ in range(3):
        due = await store.next_due(now=at, kinds=[TaskKind.NOTIFY])
        assert due is not None
        assert at < due <= at + timedelta(minutes=5)
        at = due
        (probe,) = await claimed(store, at)
        await store.finish(probe, Retry(due_at=at + timedelta(days=1), problem="500", answer=REFUSED), now=at)
    (probe,) = await claimed(store, at + timedelta(minutes=5))
    await store.finish(probe, Done(answer=Answer(status=200)), now=at)
    assert len(await claimed(store, at)) == 8, "it answers, and the others wait nevertheless"
    assert len(first) > PROBED_AFTER


async def test_whoever_is_refused_at_an_address_slows_down_nobody_elses_deliveries_to_it(store: SQLiteStore) -> None:
    wrong = NotifyTarget(url=HOOK, secret="whsec_" + "d3Jv" * 8)
    for number in range(PROBED_AFTER):
        await a_failure(store, number, notify=(wrong,))
    for task in await claimed(store):
        refused = Retry(due_at=NOW + timedelta(days=1), problem="401", answer=Answer(status=401))
        await store.finish(task, refused, now=NOW)
    for number in range(3):
        await a_failure(store, 100 + number)
    assert len(await claimed(store)) == 3


async def test_delivered_progress_is_not_sent_again_after_the_end(store: SQLiteStore) -> None:
    job = a_job()
    types = tuple(PROGRESS_TOO)
    await submitted(store, job, notify=(NotifyTarget(url=HOOK, types=types),))
    await store.accept(report(job, running(10)))
    (progress,) = await all_delivered(store)
    await store.accept(report(job, succeeded()))
    with pytest.raises(DeliverySuperseded):
        await store.deliveries.retry(progress.id, now=NOW)
    assert await store.deliveries.retry_all([progress.id], now=NOW) == 0


async def test_a_pause_that_an_endpoint_asks_for_is_kept_by_all_its_deliveries(store: SQLiteStore) -> None:
    for number in range(3):
        await a_failure(store, number)
    (asked,) = await claimed(store, limit=1)
    busy = Answer(status=429, pause=timedelta(minutes=2))
    await store.finish(asked, Retry(due_at=NOW + timedelta(minutes=2), problem="429", answer=busy), now=NOW)
    assert await claimed(store, NOW + timedelta(seconds=119)) == []
    assert len(await claimed(store, NOW + timedelta(seconds=120))) == 3


async def test_a_jobs_own_endpoint_that_is_gone_is_disabled_and_nothing_waits_for_it_for_ever(
    store: SQLiteStore,
) -> None:
    types = ("job.running", "video.expiring", "job.overdue", "job.failed")
    job = a_job()
    await submitted(store, job, notify=(NotifyTarget(url=HOOK, types=types),))
    for progress in (10, 20):
        await store.accept(report(job, running(progress)))
    (task,) = await claimed(store)
    await store.finish(task, Dead(problem="410", answer=Answer(status=410, is_gone=True)), now=NOW)
    await store.accept(report(job, failed(), received_at=NOW + SECOND))
    assert await claimed(store, NOW + LEASE) == []
    found = [(each.type, each.status, each.problem) for each in await store.deliveries.page(DeliveryFilter())]
    gone = "the endpoint asked not to be called again (410)"
    assert sorted(found) == [
        ("job.failed", "dead", gone),
        ("job.running", "dead", "410"),
        ("job.running", "dead", gone),
    ]
    assert await store.next_due(now=NOW, kinds=[TaskKind.NOTIFY]) is None


async def test_a_standing_endpoint_that_is_gone_gets_it_when_it_is_enabled(store: SQLiteStore) -> None:
    await a_failure(store)
    await make_standing(store)
    (task,) = await claimed(store)
    await store.finish(task, Dead(problem="410", answer=Answer(status=410, is_gone=True)), now=NOW)
    assert await claimed(store, NOW + LEASE) == []
    (delivery,) = await store.deliveries.page(DeliveryFilter())
    assert (delivery.status, delivery.waits_for, delivery.problem) == ("pending", WaitsFor.ENABLING, "410")


async def test_a_day_of_failing_disables_a_standing_endpoint_and_tells(
    store: SQLiteStore, caplog: pytest.LogCaptureFixture
) -> None:
    job = await a_failure(store)
    await make_standing(store)
    at = NOW
    for hours in (0, 23, 1):
        at += timedelta(hours=hours)
        assert "endpoint.disabled" not in await kinds_announced(store, job)
        task = await one_task(store, TaskKind.NOTIFY, now=at)
        await store.finish(task, Retry(due_at=at, problem="500", answer=REFUSED), now=at)
    assert await kinds_announced(store, job) == ["job.failed", "endpoint.disabled"]
    told = (await store.notifications(after=1))[0]
    assert msgspec.json.decode(told.body)["data"]["endpoint"]["reason"] == "it has failed for a day"
    assert await claimed(store, at + timedelta(days=1)) == []
    assert "is disabled" in caplog.text
    assert HOOK not in caplog.text


async def test_one_success_within_the_day_begins_the_count_anew(store: SQLiteStore) -> None:
    await a_failure(store, 1)
    await make_standing(store)
    task = await one_task(store, TaskKind.NOTIFY)
    await store.finish(task, Retry(due_at=NOW, problem="500", answer=REFUSED), now=NOW)
    await store.finish(await one_task(store, TaskKind.NOTIFY), Done(answer=Answer(status=200)), now=NOW)
    (delivery,) = await store.deliveries.page(DeliveryFilter())
    at = NOW + timedelta(days=2)
    await store.deliveries.retry(delivery.id, now=at)
    await store.finish(
        await one_task(store, TaskKind.NOTIFY, now=at), Retry(due_at=at, problem="500", answer=REFUSED), now=at
    )
    assert len(await claimed(store, at)) == 1


async def test_a_fault_of_ours_is_not_held_against_the_endpoint(store: SQLiteStore) -> None:
    await a_failure(store)
    for _ in range(PROBED_AFTER + 1):
        await store.finish(
            await one_task(store, TaskKind.NOTIFY), Retry(due_at=NOW, problem="the worker was stopped"), now=NOW
        )


async def test_a_dead_letter_put_back_has_all_its_tries_again_and_the_same_id(store: SQLiteStore) -> None:
    await a_failure(store)
    for _ in range(2):
        task = await one_task(store, TaskKind.NOTIFY)
        await store.finish(task, Retry(due_at=NOW, problem="500", answer=REFUSED), now=NOW)
    task = await one_task(store, TaskKind.NOTIFY)
    before = await store.deliveries.get(task.subject)
    await store.finish(task, Dead(problem="500", answer=REFUSED), now=NOW)
    await store.deliveries.retry(task.subject, now=NOW)
    (heard,) = await all_delivered(store)
    assert before is not None
    assert heard.notification == before.notification
    assert (task.attempt, [each.number for each in await store.deliveries.attempts(task.subject)]) == (3, [1, 2, 3, 4])
    with pytest.raises(UnknownDelivery):
        await store.deliveries.retry("dlv_nobody", now=NOW)


async def test_one_that_is_being_tried_begins_anew_only_should_it_fail(store: SQLiteStore) -> None:
    await a_failure(store)
    task = await one_task(store, TaskKind.NOTIFY)
    await store.deliveries.retry(task.subject, now=NOW)
    assert await claimed(store) == []
    await store.finish(task, Dead(problem="500", answer=REFUSED), now=NOW)
    again = await one_task(store, TaskKind.NOTIFY)
    assert again.attempt == 1
    await store.deliveries.retry(task.subject, now=NOW)
    await store.finish(again, Done(answer=Answer(status=200)), now=NOW)
    assert await claimed(store, NOW + SECOND) == []


async def test_what_was_put_back_by_a_filter_is_only_what_matches(store: SQLiteStore) -> None:
    jobs = [await a_failure(store, number) for number in range(6)]
    for number, task in enumerate(await claimed(store)):
        if number < 4:
            await store.finish(task, Dead(problem=f"the endpoint answered 50{number % 2}", answer=REFUSED), now=NOW)
        else:
            await store.finish(task, Done(answer=Answer(status=200)), now=NOW)
    assert len(await store.deliveries.matching(DeliveryFilter(error="ANSWERED 501"))) == 2
    assert len(await store.deliveries.matching(DeliveryFilter(status=DeliveryStatus.DELIVERED))) == 2
    assert await store.deliveries.matching(DeliveryFilter(job=jobs[0], until=NOW)) == []
    matching = await store.deliveries.matching(DeliveryFilter(since=NOW))
    assert await store.deliveries.retry_all(matching, now=NOW) == 4
    assert len(await all_delivered(store)) == 4


# Changes of an endpoint while deliveries wait for it


async def a_standing_endpoint(store: SQLiteStore) -> str:
    """One with its own secret, with eight deliveries under way and four that wait for room."""
    wanted = NewEndpoint(url=HOOK, secrets=("whsec_" + "QUJD" * 12,))
    endpoint = await store.endpoints.create(wanted, now=NOW)
    for number in range(12):
        await a_failure(store, number, notify=())
    return endpoint.id


async def test_what_waits_for_an_endpoint_goes_out_after_its_secret_was_rotated(store: SQLiteStore) -> None:
    endpoint = await a_standing_endpoint(store)
    first = await claimed(store)
    assert len(first) == 8
    await store.endpoints.rotate(endpoint, "whsec_" + "REVG" * 12, overlap=timedelta(hours=1), now=NOW)
    assert await claimed(store) == [], "a rotation makes no room"
    for task in first:
        await store.finish(task, Done(answer=Answer(status=200)), now=NOW)
    assert len(await claimed(store)) == 4


async def endpoint_of(store: SQLiteStore, task: Task) -> str:
    """Where a delivery goes."""
    summary = await store.deliveries.summary(task.subject)
    assert summary is not None
    return summary.endpoint_id


async def test_what_waits_for_a_place_goes_out_after_one_of_its_endpoints_was_changed_or_removed(
    store: SQLiteStore,
) -> None:
    shared = NotifyTarget(url=HOOK, secret="whsec_" + "QUJD" * 12)
    for number in range(24):
        await a_failure(store, number, notify=(shared,))
    first = await claimed(store)
    for task in first:
        await store.endpoints.remove(await endpoint_of(store, task), now=NOW)
    second = await claimed(store)
    assert len(second) == 8, "what is removed takes no room"
    for task in second:
        await store.endpoints.rotate(
            await endpoint_of(store, task), "whsec_" + "REVG" * 12, overlap=timedelta(0), now=NOW
        )
    for task in [*first, *second]:
        await store.finish(task, Done(answer=Answer(status=200)), now=NOW)
    assert len(await claimed(store)) == 8


async def test_a_try_whose_claim_was_taken_away_makes_room_when_it_ends(store: SQLiteStore) -> None:
    for number in range(9):
        await a_failure(store, number)
    first = await claimed(store)
    assert await claimed(store) == []
    await store.database.write(
        lambda raw: raw.execute("UPDATE tasks SET state = 'dead', lease = NULL WHERE lease > ''")
    )
    assert not await store.finish(first[0], Done(answer=Answer(status=200)), now=NOW)
    assert len(await claimed(store)) == 1


async def test_what_was_let_down_is_found_within_minutes(store: SQLiteStore) -> None:
    for number in range(9):
        await a_failure(store, number)
    first = await claimed(store)
    # As a fault of ours would leave it: all have ended, and nobody let the ninth in.
    await store.database.write(
        lambda raw: raw.execute("UPDATE tasks SET state = 'dead', lease = NULL WHERE lease > ''")
    )
    due = await store.next_due(now=NOW, kinds=[TaskKind.NOTIFY])
    assert due == NOW + timedelta(minutes=5)
    assert len(await claimed(store, due)) == 1
    assert len(first) == 8


async def test_a_look_lets_nothing_in_that_still_has_to_wait(store: SQLiteStore) -> None:
    for number in range(12):
        await a_failure(store, number)
    held = await claimed(store)
    for minutes in range(1, 20):
        at = NOW + timedelta(seconds=20 * minutes)
        await store.next_due(now=at, kinds=[TaskKind.NOTIFY])
        await store.renew(held, lease=LEASE, now=at)
        assert await claimed(store, at) == []


async def test_what_is_kept_for_an_endpoint_that_nobody_enables_is_given_up_after_seven_days(
    store: SQLiteStore,
) -> None:
    endpoint = await store.endpoints.create(NewEndpoint(url=HOOK), now=NOW)
    await store.endpoints.disable(endpoint.id, "by hand", now=NOW)
    await a_failure(store, notify=())
    at, looks = NOW, 0
    while (await store.deliveries.page(DeliveryFilter()))[0].status == "pending":
        due = await store.next_due(now=at, kinds=[TaskKind.NOTIFY])
        assert due is not None
        assert due > at
        at, looks = at + timedelta(days=1), looks + 1
        assert await claimed(store, at) == []
    assert (looks, await store.next_due(now=at, kinds=[TaskKind.NOTIFY])) == (8, None)
    assert (await store.deliveries.page(DeliveryFilter()))[
        0
    ].problem == "the endpoint was disabled for more than 7 days"


# Hosts that hang


async def hosts_of(store: SQLiteStore, tasks: list[Task]) -> Counter[str]:
    """How many go where."""
    summaries = [await store.deliveries.summary(task.subject) for task in tasks]
    return Counter(urlsplit(each.url).netloc for each in summaries if each is not None)


async def test_a_host_that_hangs_has_a_share_however_many_addresses_it_has(store: SQLiteStore) -> None:
    for number in range(100):
        slow = NotifyTarget(url=f"https://slow.example/{number}")
        await a_failure(store, number, notify=(slow,) if number < 90 else (NotifyTarget(url=HOOK),))
    under_way = await claimed(store, limit=64)
    assert await hosts_of(store, under_way) == {"slow.example": 16, urlsplit(HOOK).netloc: 8}
    silence = Answer(status=None)
    for task in under_way:
        await store.finish(task, Retry(due_at=NOW + timedelta(days=1), problem="silence", answer=silence), now=NOW)
    at = NOW + timedelta(minutes=5)
    (probe, *_) = under_way = await claimed(store, at, limit=64)
    assert (await hosts_of(store, under_way))["slow.example"] == 1, "it fails, and is tried by one at a time"
    for task in under_way:
        await store.finish(task, Done(answer=Answer(status=200)), now=at)
    assert (await hosts_of(store, await claimed(store, at, limit=64)))["slow.example"] == 16
    assert probe


async def test_whoever_answers_at_a_host_keeps_it_open_even_if_others_are_refused_there(store: SQLiteStore) -> None:
    for number in range(20):
        await a_failure(store, number, notify=(NotifyTarget(url=f"https://shared.example/{number}"),))
    for task in await claimed(store):
        refused = Retry(due_at=NOW + timedelta(days=1), problem="401", answer=Answer(status=401))
        await store.finish(task, refused, now=NOW)
    assert len(await claimed(store)) == 4, "a refusal is no silence"


async def test_many_hosts_that_hang_leave_room_for_registered_endpoints(store: SQLiteStore) -> None:
    for number in range(100):
        await a_failure(store, number, notify=(NotifyTarget(url=f"https://host-{number % 25}.example/{number}"),))
    assert len(await claimed(store, limit=64)) == 48
    await store.endpoints.create(NewEndpoint(url=HOOK), now=NOW)
    await a_failure(store, 100, notify=())
    (task,) = await claimed(store, limit=16)
    assert (await hosts_of(store, [task])) == {urlsplit(HOOK).netloc: 1}
