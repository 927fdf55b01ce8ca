"""A client without the receiver's API key: one request, to the provider; and a clear word about all it cannot have."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from replyhook import ConfigurationError, InvalidRequest, NoProviderLeft, SubmitOutcomeUnknown
from replyhook.tokens import MAX_REPLY_URL_LENGTH, ReplyKeys
from tests.library.conftest import FAL, Driver
from tests.library.loopback import ACCEPTED_ID, World, hangs_up, says

KEY = "u_7:detached-geheim-0123456789"
PUBLIC = "https://hooks.example.com"


@pytest.fixture
def client(drive: Driver, world: World) -> Any:
    return detached(drive, world)


def detached(drive: Driver, world: World, **settings: Any) -> Any:
    providers = {
        "fal": {"api_key": "sk", "base_url": f"{world.url}/fal"},
        "useapi": {"api_key": "ua", "base_url": f"{world.url}/useapi"},
        "pixverse": {"api_key": "px", "webhook_id": "7"},
        "aihubmax": {"api_key": "ai", "send_callback_url": False},
    }
    values: dict[str, Any] = {"reply_keys": [KEY], "public_url": PUBLIC, "providers": providers}
    return drive.client(**(values | settings))


def test_a_detached_submit_is_one_request_and_its_reply_url_says_whose_job_it_is(
    drive: Driver, client: Any, world: World
) -> None:
    job = drive(client.submit(**FAL, reply_ref="order-42"))
    (submitted,) = world.seen
    assert submitted.query == {"fal_webhook": job.reply_url}
    head, _, token = job.reply_url.rpartition("/")
    assert head == f"{PUBLIC}/callbacks/fal"
    read = ReplyKeys([KEY]).read(token, provider="fal")
    assert (read.job_id, read.user, read.reference) == (job.id, "u_7", "order-42")
    assert abs((datetime.now(UTC) - read.issued_at).total_seconds()) < 60
    assert job.provider_job_id == ACCEPTED_ID
    assert "geheim" not in repr(client._settings)


def test_a_detached_submit_whose_answer_is_lost_is_not_sent_again(drive: Driver, client: Any, world: World) -> None:
    world.will_answer("POST /fal/", hangs_up())
    with pytest.raises(SubmitOutcomeUnknown) as caught:
        drive(client.submit(**FAL))
    assert len(world.seen) == 1
    assert caught.value.job.reply_url.startswith(PUBLIC)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"notify": ["https://my.app/hooks"]}, "detached client registers nobody"),
        ({"user": "u_8"}, "reply key is u_7's"),
        ({"reply_ref": "r" * 800}, "too long"),
        ({"reply_ref": "€" * 300}, "too long"),
        ({"provider": "pixverse"}, "can use aihubmax, fal, useapi"),
        ({"provider": "segmind"}, "can use aihubmax, fal, useapi"),
        ({"provider": "auto", "notify": ["https://my.app/hooks"]}, "detached client registers nobody"),
        ({"provider": ["fal", "useapi"], "user": "u_8"}, "reply key is u_7's"),
    ],
    ids=str,
)
def test_what_only_a_registered_job_can_have_is_refused_before_anything_is_sent(
    drive: Driver, client: Any, world: World, wrong: dict[str, Any], says: str
) -> None:
    with pytest.raises(InvalidRequest, match=says):
        drive(client.submit(**{**FAL, **wrong}))
    assert not world.seen


def test_a_provider_that_is_set_up_not_to_call_back_is_refused_since_nothing_else_would_find_the_job(
    drive: Driver, client: Any, world: World
) -> None:
    with pytest.raises(ConfigurationError, match="aihubmax is set up not to ask for callbacks"):
        drive(client.submit(**{**FAL, "provider": "aihubmax"}))
    assert not world.seen
    calling = detached(drive, world, providers={"aihubmax": {"api_key": "ai", "base_url": f"{world.url}/useapi"}})
    (estimate,) = calling.estimate(**{**FAL, "provider": "aihubmax"})
    assert estimate.problem is None


def test_what_it_would_cost_needs_no_receiver_and_who_cannot_call_back_says_why(client: Any, world: World) -> None:
    wanted = {"video": "https://a.example/in.mp4", "prompt": "a boat turns", "duration": 5, "quality": "540p"}
    told = [str(each) for each in client.estimate(**wanted, prefer="price")]
    assert told[:2] == ["fal: $0.175", "useapi: price not published"]
    skipped = dict(line.split(": ", 1) for line in told[2:])
    assert set(skipped) == {"aihubmax", "pixverse", "segmind"}
    assert all("detached client" in words for words in skipped.values())
    assert not world.seen


def test_each_provider_that_is_asked_gets_a_job_and_a_reply_url_of_its_own(
    drive: Driver, client: Any, world: World
) -> None:
    world.will_answer("POST /fal/", says(402, {"detail": "Payment required"}))
    wanted = {**FAL, "provider": "auto", "video": f"{world.url}/in.mp4", "reply_ref": "order-42"}
    job = drive(client.submit(**wanted))
    assert (job.provider, job.provider_job_id) == ("useapi", ACCEPTED_ID)
    assert [name for name, _ in job.tried] == ["fal"]
    assert {seen.path.split("/")[1] for seen in world.seen} <= {"fal", "useapi", "in.mp4"}, "only providers are asked"
    (asked,), (given,) = world.to("POST /fal/"), world.to("POST /useapi/videos/")
    first, second = asked.query["fal_webhook"], given.json()["replyUrl"]
    assert second == job.reply_url
    urls = {"fal": first, "useapi": second}
    read = [ReplyKeys([KEY]).read(url.rpartition("/")[2], provider=name) for name, url in urls.items()]
    assert read[1].job_id == job.id != read[0].job_id
    assert [(each.user, each.reference) for each in read] == [("u_7", "order-42")] * 2


def test_when_nobody_is_left_to_a_detached_client_each_has_its_reason(drive: Driver, client: Any, world: World) -> None:
    with pytest.raises(NoProviderLeft) as caught:
        drive(client.submit(**{**FAL, "provider": ["segmind", "pixverse", "aihubmax"]}))
    assert [name for name, _ in caught.value.reasons] == ["segmind", "pixverse", "aihubmax"]
    assert all("detached client" in str(error) for _, error in caught.value.reasons)
    assert not world.seen


def test_a_detached_submit_waits_for_its_place_as_any_other(drive: Driver, client: Any, world: World) -> None:
    busy = says(429, {"detail": "Too many requests", "error": "Reached the limit"}, retry_after="0")
    world.will_answer("POST /fal/", busy, says(200, {"request_id": ACCEPTED_ID}))
    job = drive(client.submit(**FAL))
    assert job.provider_job_id == ACCEPTED_ID
    assert [seen.query["fal_webhook"] for seen in world.seen] == [job.reply_url] * 2


def test_a_long_reference_is_carried_as_far_as_the_reply_url_may_grow(drive: Driver, client: Any) -> None:
    longest = 0
    for length in range(560, 720):
        try:
            job = drive(client.submit(**FAL, reply_ref="r" * length, user="u_7"))
        except InvalidRequest:
            break
        longest = length
        assert len(job.reply_url) <= MAX_REPLY_URL_LENGTH
    assert longest > 600


@pytest.mark.parametrize("what", ["wait", "events", "result", "download", "job", "subscribe"])
def test_what_needs_the_receivers_word_says_so(drive: Driver, client: Any, world: World, what: str) -> None:
    job = drive(client.submit(**FAL))
    needs: dict[str, Callable[[], object]] = {
        "wait": lambda: drive(job.wait(1)),
        "events": lambda: drive.all(job.events(1)),
        "result": lambda: drive(job.result()),
        "download": lambda: drive(job.download("out.mp4")),
        "job": lambda: drive(client.job(job.id)),
        "subscribe": lambda: drive(client.subscribe(**FAL)),
    }
    with pytest.raises(ConfigurationError, match=r"detached.*receiver_url= and api_key="):
        needs[what]()
    assert len(world.seen) == 1  # nothing was submitted for what could not be waited for


@pytest.mark.parametrize(
    "settings",
    [
        {"public_url": None},
        {"public_url": "http://hooks.example.com"},
        {"public_url": "hooks.example.com"},
        {"reply_keys": ["no-user-0123456789-0123456789"]},
        {"reply_keys": KEY},
        {"reply_keys": None},
        {"api_key": "rk-geheim"},
        {"receiver_url": "https://hooks.example.com"},
    ],
    ids=str,
)
def test_a_client_that_is_half_detached_is_refused(drive: Driver, world: World, settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        detached(drive, world, **settings)
    assert "geheim" not in str(caught.value)


def test_a_detached_client_is_made_from_the_environment(drive: Driver, world: World) -> None:
    environ = {
        "REPLYHOOK_REPLY_KEYS": f"{KEY},u_7:older-0123456789-0123456789",
        "REPLYHOOK_PUBLIC_URL": PUBLIC,
        "REPLYHOOK_PROVIDERS__FAL__BASE_URL": f"{world.url}/fal",
        "FAL_KEY": "sk",
    }
    job = drive(drive.opened(drive.kind.from_env(environ)).submit(**FAL))
    assert ReplyKeys([KEY]).read(job.reply_url.rpartition("/")[2], provider="fal").user == "u_7"
    both = environ | {"REPLYHOOK_API_KEY": "rk", "REPLYHOOK_RECEIVER_URL": world.url}
    registered = drive(drive.opened(drive.kind.from_env(both)).submit(**FAL))
    assert registered.reply_url == f"{world.url}/callbacks/fal/to.ken"
