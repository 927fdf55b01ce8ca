"""Which provider gets a job: chosen before anything is sent, and left only when it certainly started nothing."""

from decimal import Decimal
from typing import Any

import pytest

from replyhook import InvalidRequest, NoProviderLeft, SubmitOutcomeUnknown, VideoSource
from replyhook.errors import (
    AccountBlocked,
    BadRequest,
    ConfigurationError,
    InsufficientCredits,
    Moderated,
    ProviderUnavailable,
    RateLimited,
    ReceiverUnavailable,
    Unauthorized,
)
from replyhook.routing import auto_order
from tests.library.conftest import FAL, Driver
from tests.library.loopback import ACCEPTED_ID, Answer, World, hangs_up, says

JOB: dict[str, Any] = {"video": "https://a.example/in.mp4", "prompt": "a boat turns", "duration": 5}
BOTH: dict[str, Any] = {**JOB, "provider": ["fal", "useapi"], "quality": "540p", "video": b"\x00\x00\x00\x18ftypmp42"}
BUSY = says(429, {"detail": "Too many requests", "error": "Reached the limit"}, retry_after="0")


def outcomes(world: World) -> list[tuple[str, str]]:
    """What the receiver was told, by job."""
    return [(seen.path.split("/")[3], seen.json()["outcome"]) for seen in world.to("POST /v1/jobs/")]


def passed_on(world: World) -> list[bool]:
    """Of which jobs the receiver was told that another provider is asked instead."""
    return [seen.json().get("passed_on", False) for seen in world.to("POST /v1/jobs/")]


# Estimating


def test_an_estimate_is_a_price_or_why_there_is_none_and_sends_nothing(client: Any, world: World) -> None:
    estimates = {each.provider: each for each in client.estimate(**JOB, quality="1080p")}
    assert set(estimates) == set(auto_order())
    assert estimates["fal"].price.highest == Decimal("0.450")
    assert estimates["fal"].problem is None
    assert str(estimates["fal"]) == "fal: $0.450"
    assert isinstance(estimates["useapi"].problem, InvalidRequest)
    assert "360p, 540p" in str(estimates["useapi"])
    assert isinstance(estimates["pixverse"].problem, ConfigurationError)
    assert "PIXVERSE_API_KEY" in str(estimates["pixverse"])
    assert (estimates["segmind"].problem, estimates["segmind"].price.lowest) == (None, Decimal("0.375"))
    assert not world.seen


def test_an_estimate_of_one_provider_is_about_that_one(client: Any) -> None:
    (estimate,) = client.estimate(**{**JOB, "provider": "useapi", "video": b"mp4"})
    assert str(estimate) == "useapi: price not published"


def test_an_estimate_refuses_what_no_provider_could_make_sense_of(client: Any) -> None:
    with pytest.raises(InvalidRequest, match="reply_ref"):
        client.estimate(**JOB, reply_ref="")
    with pytest.raises(TypeError, match="estimate"):
        client.estimate(video=b"mp4")


def test_estimates_stand_in_the_order_in_which_providers_would_be_asked(client: Any) -> None:
    by_order = [each.provider for each in client.estimate(**JOB, provider=["segmind", "useapi", "fal"])]
    assert by_order == ["segmind", "useapi", "fal"]
    by_price = client.estimate(**JOB, provider=["useapi", "segmind", "fal", "aihubmax"], prefer="price")
    assert [each.provider for each in by_price] == ["fal", "segmind", "useapi", "aihubmax"]  # the last has no key


def test_auto_goes_through_all_the_signed_first_and_the_relayed_last() -> None:
    assert auto_order() == ("fal", "pixverse", "aihubmax", "useapi", "segmind")


# Choosing


@pytest.mark.parametrize(
    ("wanted", "provider"),
    [
        ({"provider": "auto"}, "fal"),
        ({"provider": ["useapi", "fal"]}, "useapi"),
        ({"provider": ["useapi", "fal"], "prefer": "price"}, "fal"),
        ({"provider": ["useapi", "fal"], "audio": True}, "fal"),  # useapi has no such setting
        ({"provider": ["fal", "useapi"], "motion_mode": "fast"}, "useapi"),
        ({"provider": ["useapi", "fal"], "max_price": 0.175}, "fal"),  # useapi's is not published
        ({"provider": ("pixverse", "useapi")}, "useapi"),  # pixverse has no key
        ({"provider": ["fal", "fal"]}, "fal"),
    ],
    ids=str,
)
def test_the_first_that_can_do_the_job_gets_it(
    drive: Driver, client: Any, world: World, wanted: dict[str, Any], provider: str
) -> None:
    job = drive(client.submit(**{**BOTH, **wanted}))
    assert (job.provider, job.provider_job_id, job.tried) == (provider, ACCEPTED_ID, ())
    assert len(world.to("PUT /v1/jobs/")) == 1


def test_when_nobody_can_every_provider_is_named_with_its_reason_and_nothing_is_sent(
    drive: Driver, client: Any, world: World
) -> None:
    with pytest.raises(NoProviderLeft) as caught:
        drive(client.submit(**{**JOB, "provider": "auto", "duration": 15, "max_price": 0.5}))
    assert [name for name, _ in caught.value.reasons] == list(auto_order())
    for words in ("fal: max_price", "$0.675", "pixverse: duration=15", "useapi: duration=15", "segmind: duration=15"):
        assert words in str(caught.value)
    assert not world.seen


@pytest.mark.parametrize(
    ("max_price", "provider", "words"),
    [(0.17, "fal", r"it costs \$0\.175 there"), (99, "useapi", "not published"), (0.9, "segmind", r"\$1\.00")],
)
def test_a_named_provider_that_may_cost_more_is_refused_before_anything_is_sent(
    drive: Driver, client: Any, world: World, max_price: float, provider: str, words: str
) -> None:
    with pytest.raises(InvalidRequest, match=words) as caught:
        drive(client.submit(**{**JOB, "quality": "540p", "provider": provider, "max_price": max_price}))
    assert (caught.value.field, caught.value.provider) == ("max_price", provider)
    assert not world.seen


def test_a_price_that_is_just_right_is_paid(drive: Driver, client: Any) -> None:
    for price in (0.175, Decimal("0.175"), 1):
        assert drive(client.submit(**{**BOTH, "provider": "fal", "max_price": price})).provider == "fal"


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"provider": []}, InvalidRequest),
        ({"provider": ["fal", 7]}, InvalidRequest),
        ({"provider": b"fal"}, InvalidRequest),
        ({"provider": ["fal", "sora"]}, ConfigurationError),
        ({"provider": ["auto", "fal"]}, ConfigurationError),
        ({"prefer": "luck"}, InvalidRequest),
        ({"prefer": ["price"]}, InvalidRequest),
        ({"max_price": -1}, InvalidRequest),
        ({"max_price": float("nan")}, InvalidRequest),
        ({"max_price": "0.5"}, InvalidRequest),
        ({"max_price": True}, InvalidRequest),
        ({"patience": -1}, InvalidRequest),
        ({"patience": float("inf")}, InvalidRequest),
        ({"patience": "60"}, InvalidRequest),
        ({"video": VideoSource.provider_job("v-0")}, InvalidRequest),  # whose?
    ],
    ids=str,
)
def test_a_choice_that_makes_no_sense_is_refused_at_once(
    drive: Driver, client: Any, world: World, wrong: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        drive(client.submit(**{**BOTH, **wrong}))
    assert not world.seen


def test_pixverse_without_its_webhook_is_passed_over_before_anything_is_sent(drive: Driver, world: World) -> None:
    client = drive.client(receiver_url=world.url, api_key="rk", provider_keys={"pixverse": "k"})
    with pytest.raises(ConfigurationError, match="webhook_id"):
        drive(client.submit(**{**FAL, "provider": "pixverse"}))
    with pytest.raises(NoProviderLeft, match="webhook_id"):
        drive(client.submit(**{**FAL, "provider": ["pixverse", "fal"]}))
    assert not world.seen


# Going on to the next


@pytest.mark.parametrize(
    ("refusal", "error"),
    [
        (says(401, {"detail": "No user found"}), Unauthorized),
        (says(402, {"detail": "Payment required"}), InsufficientCredits),
        (says(403, {"detail": "User is locked. Reason: Exhausted balance."}), InsufficientCredits),
        (BUSY, RateLimited),
        (says(503, {"detail": "No runner is available"}), ProviderUnavailable),
        (says(596, {"detail": "pending error"}), AccountBlocked),
    ],
    ids=["no key", "no credits", "no balance", "too many", "no runner", "blocked"],
)
def test_after_a_refusal_that_started_nothing_the_next_gets_its_own_job(
    drive: Driver, client: Any, world: World, refusal: Answer, error: type[Exception]
) -> None:
    world.will_answer("POST /fal/", refusal)
    job = drive(client.submit(**BOTH, reply_ref="order-42", patience=0))
    assert (job.provider, job.provider_job_id, job.reference) == ("useapi", ACCEPTED_ID, "order-42")
    ((name, reason),) = job.tried
    assert (name, type(reason)) == ("fal", error)
    registered = world.to("PUT /v1/jobs/")
    first, second = (seen.path.split("/")[3] for seen in registered)
    assert (first != second, second) == (True, job.id)
    assert [seen.json()["provider"] for seen in registered] == ["fal", "useapi"]
    assert outcomes(world) == [(first, "refused"), (second, "accepted")]
    assert (len(world.to("POST /fal/")), len(world.to("POST /useapi/videos/"))) == (1, 1)
    assert passed_on(world) == [True, False]


def test_a_provider_that_is_not_there_is_passed_over(drive: Driver, world: World) -> None:
    providers = {
        "fal": {"api_key": "k", "base_url": "http://127.0.0.1:9", "rest_url": f"{world.url}/rest"},
        "useapi": {"api_key": "k", "base_url": f"{world.url}/useapi"},
    }
    job = drive(drive.client(receiver_url=world.url, api_key="rk", providers=providers).submit(**BOTH))
    assert (job.provider, [name for name, _ in job.tried]) == ("useapi", ["fal"])


@pytest.mark.parametrize(
    ("refusal", "error"),
    [
        (says(400, {"detail": "no such field"}), BadRequest),
        (
            says(422, {"detail": [{"loc": ["body", "prompt"], "msg": "x", "type": "content_policy_violation"}]}),
            Moderated,
        ),
        (says(422, {"detail": [{"loc": ["body", "seed"], "msg": "not a number"}]}), BadRequest),
        (says(404, {"detail": "no such model"}), BadRequest),
        (hangs_up(), SubmitOutcomeUnknown),
        (says(500, {"detail": "An unexpected internal error occurred"}), SubmitOutcomeUnknown),
        (says(504, {"detail": "Request timed out"}), SubmitOutcomeUnknown),
        (says(200, {}), SubmitOutcomeUnknown),
    ],
    ids=["400", "moderated", "422", "404", "hangs up", "500", "504", "no id"],
)
def test_what_speaks_against_the_job_or_may_have_started_it_ends_there(
    drive: Driver, client: Any, world: World, refusal: Answer, error: type[Exception]
) -> None:
    world.will_answer("POST /fal/", refusal)
    with pytest.raises(error) as caught:
        drive(client.submit(**BOTH))
    assert caught.value.tried == ()  # type: ignore[attr-defined] # ours all have it
    assert len(world.to("POST /fal/")) == 1
    assert not world.to("POST /useapi/")


def test_a_lost_answer_at_the_second_is_told_with_its_job_and_the_first_and_nobody_is_asked_again(
    drive: Driver, client: Any, world: World
) -> None:
    world.will_answer("POST /fal/", says(402, {"detail": "Payment required"}))
    world.will_answer("POST /useapi/videos/", hangs_up())
    with pytest.raises(SubmitOutcomeUnknown) as caught:
        drive(client.submit(**{**BOTH, "provider": ["fal", "useapi"]}))
    job = caught.value.job
    assert (job.provider, job.provider_job_id) == ("useapi", None)
    assert [name for name, _ in job.tried] == [name for name, _ in caught.value.tried] == ["fal"]
    assert [outcome for _, outcome in outcomes(world)] == ["refused", "unknown"]
    assert (len(world.to("POST /fal/")), len(world.to("POST /useapi/videos/"))) == (1, 1)
    assert drive(job.wait(60)).type == "video.stored"


def test_who_submits_and_waits_in_one_call_can_choose_as_well(drive: Driver, client: Any, world: World) -> None:
    world.will_answer("POST /fal/", BUSY)
    heard: list[str] = []
    job = drive(client.subscribe(**BOTH, prefer="price", patience=0, on_event=lambda told: heard.append(told.type)))
    assert (job.provider, [name for name, _ in job.tried]) == ("useapi", ["fal"])
    assert len(world.to("POST /fal/")) == 1
    assert heard[-1] == "video.stored"


def test_when_all_have_refused_the_error_names_each(drive: Driver, client: Any, world: World) -> None:
    world.will_answer("POST /fal/", says(402, {"detail": "Payment required"}))
    world.will_answer("POST /useapi/videos/", says(412, {"error": "All Credits have been used up."}))
    with pytest.raises(NoProviderLeft, match=r"fal refused.*Payment required.*All Credits") as caught:
        drive(client.submit(**{**BOTH, "provider": ["pixverse", "fal", "useapi"]}))
    assert [(name, type(error)) for name, error in caught.value.reasons] == [
        ("pixverse", ConfigurationError),
        ("fal", InsufficientCredits),
        ("useapi", InsufficientCredits),
    ]
    assert [name for name, _ in caught.value.tried] == ["fal", "useapi"]
    assert [outcome for _, outcome in outcomes(world)] == ["refused", "refused"]
    assert passed_on(world) == [True, False]  # the last one's refusal is the end, and is announced


def test_a_single_name_is_no_choice_so_its_own_refusal_is_raised(drive: Driver, client: Any, world: World) -> None:
    world.will_answer("POST /fal/", says(402, {"detail": "Payment required"}))
    with pytest.raises(InsufficientCredits):
        drive(client.submit(**{**BOTH, "provider": "fal"}))
    with pytest.raises(NoProviderLeft):
        drive(client.submit(**{**BOTH, "provider": ["fal"]}))
    assert passed_on(world) == [False, False]


def test_a_receiver_that_goes_away_in_between_ends_it_with_what_was_tried(
    drive: Driver, client: Any, world: World
) -> None:
    world.will_answer("PUT /v1/jobs/", says(201, {"reply_url": f"{world.url}/callbacks/fal/to.ken"}), says(503))
    world.will_answer("POST /fal/", says(402, {"detail": "Payment required"}))
    with pytest.raises(ReceiverUnavailable) as caught:
        drive(client.submit(**BOTH))
    assert [name for name, _ in caught.value.tried] == ["fal"]
    assert not world.to("POST /useapi/")


def test_too_many_twice_and_then_a_place(drive: Driver, client: Any, world: World) -> None:
    world.will_answer("POST /useapi/videos/", BUSY, BUSY, says(200, {"video_id": ACCEPTED_ID}))
    job = drive(client.submit(**{**BOTH, "provider": "useapi"}))
    assert (job.provider_job_id, job.tried) == (ACCEPTED_ID, ())
    assert len(world.to("POST /useapi/videos/")) == 3
    assert len(world.to("POST /useapi/files/")) == 1
    assert outcomes(world) == [(job.id, "accepted")]


def test_patience_is_one_for_all_providers_together(drive: Driver, client: Any, world: World) -> None:
    world.will_answer("POST /fal/", BUSY)
    world.will_answer("POST /useapi/videos/", BUSY)
    with pytest.raises(NoProviderLeft) as caught:
        drive(client.submit(**BOTH, patience=1.2))
    waited = [error.waited_seconds for _, error in caught.value.tried if isinstance(error, RateLimited)]
    assert waited == [1.0, 0.0]
    assert (len(world.to("POST /fal/")), len(world.to("POST /useapi/videos/"))) == (2, 1)


# Relayed


def test_a_relayed_provider_is_taken_in_its_place_and_needs_no_key_here(
    drive: Driver, client: Any, world: World
) -> None:
    world.will_answer("POST /v1/jobs", says(202, {}))
    world.will_answer("POST /v1/jobs/", says(200, {}))
    job = drive(client.submit(**JOB, provider=["segmind", "fal"]))
    assert (job.provider, job.provider_job_id) == ("segmind", None)
    assert not world.to("POST /fal/")


def test_a_receiver_without_the_relayed_providers_key_is_a_reason_to_go_on(
    drive: Driver, client: Any, world: World
) -> None:
    refusal = {"field": "provider", "value": "segmind", "allowed": "the receiver has no key for it"}
    world.will_answer("POST /v1/jobs", says(422, refusal))
    world.will_answer("POST /v1/jobs/", says(200, {}))
    job = drive(client.submit(**JOB, provider=["segmind", "fal"]))
    assert (job.provider, [name for name, _ in job.tried]) == ("fal", ["segmind"])
    world.will_answer("POST /v1/jobs", says(422, {"field": "notify", "value": "http://10.0.0.1", "allowed": "public"}))
    with pytest.raises(InvalidRequest, match="notify"):
        drive(client.submit(**JOB, provider=["segmind", "fal"]))
