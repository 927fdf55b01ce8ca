"""Both clients over real HTTP: how they are set up, and how they submit and upload."""

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

from replyhook import (
    AsyncClient,
    Client,
    InvalidRequest,
    SubmissionRefused,
    SubmitOutcomeUnknown,
    VideoSource,
)
from replyhook.errors import (
    ConfigurationError,
    InsufficientCredits,
    ProviderUnavailable,
    ReceiverUnavailable,
)
from replyhook.ids import is_id
from replyhook.jobs import SourceKind
from tests.library.conftest import FAL, Driver
from tests.library.loopback import (
    ACCEPTED_ID,
    VIDEO,
    World,
    file,
    hangs_up,
    late,
    says,
    sends_on,
)

USEAPI: dict[str, Any] = {**FAL, "provider": "useapi", "video": VideoSource.provider_job("v-0")}


@pytest.fixture
def dead_url() -> str:
    """An address on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    return f"http://127.0.0.1:{port}"


# Submitting


def test_a_submit_registers_submits_once_and_reports(drive: Driver, client: Any, world: World) -> None:
    job = drive(
        client.submit(**FAL, duration=5, quality="540p", reply_ref="order-42", user="u_7", notify=["https://n"])
    )
    assert is_id("job", job.id)
    assert (job.provider, job.reference, job.provider_job_id) == ("fal", "order-42", ACCEPTED_ID)
    assert (job.request.prompt, job.request.duration) == ("a boat turns", 5)
    assert [f"{seen.method} {seen.path}" for seen in world.seen] == [
        f"PUT /v1/jobs/{job.id}",
        "POST /fal/fal-ai/pixverse/v6/extend",
        f"POST /v1/jobs/{job.id}/submission",
    ]
    registered, submitted, told = world.seen
    assert registered.headers["authorization"] == told.headers["authorization"] == "Bearer rk-geheim"
    assert registered.json()["notify"] == [{"url": "https://n"}]
    assert submitted.headers["authorization"] == "Key sk-geheim"
    assert submitted.query == {"fal_webhook": f"{world.url}/callbacks/fal/to.ken"}
    assert submitted.json()["video_url"] == "https://a.example/in.mp4"
    assert told.json() == {"outcome": "accepted", "provider_job_id": ACCEPTED_ID, "error": None}
    assert "geheim" not in repr(job)


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"duration": 99}, InvalidRequest),
        ({"video": "missing.mp4"}, InvalidRequest),
        ({"video": VideoSource.provider_job("v-0")}, InvalidRequest),
        ({"reply_ref": ""}, InvalidRequest),
        ({"reply_ref": "r" * 1025}, InvalidRequest),
        ({"reply_ref": "order\r\nx-evil: 1"}, InvalidRequest),
        ({"reply_ref": "\ud800"}, InvalidRequest),
        ({"user": "u" * 257}, InvalidRequest),
        ({"user": "u\r\nBcc: all@a.example"}, InvalidRequest),
        ({"user": ""}, InvalidRequest),
        ({"prompt": "half of a letter: \ud83d"}, InvalidRequest),
        ({"video": "https://a.example/\ud83d.mp4"}, InvalidRequest),
        ({"notify": "https://my.app/hooks"}, InvalidRequest),
        ({"notify": ["https://my.app/\ud83d"]}, InvalidRequest),
        ({"notify": [{"url": "https://my.app/hooks", "secret": b"whsec_"}]}, InvalidRequest),
        ({"colour": "red"}, TypeError),
        ({"options": {"colour": "red"}}, InvalidRequest),
        ({"provider": "sora"}, ConfigurationError),
        ({"seconds": 5}, TypeError),
    ],
    ids=str,
)
def test_what_cannot_be_right_is_refused_before_anything_is_sent(
    drive: Driver, client: Any, world: World, wrong: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error, match=next(iter(wrong))):
        drive(client.submit(**{**FAL, **wrong}))
    assert not world.seen


def test_a_missing_argument_is_named(drive: Driver, client: Any) -> None:
    with pytest.raises(TypeError, match="prompt"):
        drive(client.submit(provider="fal", video="https://a.example/in.mp4"))


def test_a_secret_in_a_wrong_argument_is_not_shown(drive: Driver, client: Any) -> None:
    with pytest.raises(InvalidRequest) as caught:
        drive(client.submit(**FAL, notify={"url": "https://n", "secret": "whsec_geheim"}))
    assert "geheim" not in str(caught.value)


def test_a_provider_without_its_key_is_refused_by_name(drive: Driver, world: World) -> None:
    client = drive.client(receiver_url=world.url, api_key="rk-geheim")
    with pytest.raises(ConfigurationError, match="FAL_KEY"):
        drive(client.submit(**FAL))
    assert not world.seen


def test_what_the_receiver_warns_of_is_on_the_handle(drive: Driver, client: Any, world: World) -> None:
    assert drive(client.submit(**FAL)).warnings == ()
    answer = {"reply_url": f"{world.url}/callbacks/fal/to.ken", "warnings": ["no_provider_key: set FAL_KEY", 7]}
    world.will_answer("PUT /v1/jobs/", says(200, answer))
    assert drive(client.submit(**FAL)).warnings == ("no_provider_key: set FAL_KEY",)


def test_what_the_receiver_warns_of_is_on_the_handle_of_an_unknown_outcome_too(
    drive: Driver, client: Any, world: World
) -> None:
    warned = {"reply_url": f"{world.url}/callbacks/fal/to.ken", "warnings": ["no_provider_key: …"]}
    world.will_answer("PUT /v1/jobs/", says(201, warned))
    world.will_answer("POST /fal/", hangs_up())
    with pytest.raises(SubmitOutcomeUnknown) as caught:
        drive(client.submit(**FAL))
    assert caught.value.job.warnings == caught.value.warnings == ("no_provider_key: …",)


def test_a_refusal_is_raised_and_told(drive: Driver, client: Any, world: World) -> None:
    world.will_answer("POST /useapi/videos/", says(412, {"error": "All Credits have been used up."}))
    with pytest.raises(InsufficientCredits, match="All Credits have been used up"):
        drive(client.submit(**USEAPI))
    assert [seen.json()["outcome"] for seen in world.to("POST /v1/jobs/")] == ["refused"]


def test_an_answer_cut_off_leaves_a_job_to_wait_on_and_no_second_submit(
    drive: Driver, client: Any, world: World
) -> None:
    world.will_answer("POST /fal/", hangs_up())
    with pytest.raises(SubmitOutcomeUnknown) as caught:
        drive(client.submit(**FAL, reply_ref="order-42"))
    assert len(world.to("POST /fal/")) == 1
    assert [seen.json()["outcome"] for seen in world.to("POST /v1/jobs/")] == ["unknown"]
    job = caught.value.job
    assert (job.reference, job.provider_job_id) == ("order-42", None)
    assert drive(job.wait(60)).type == "video.stored"


def test_a_provider_that_never_answers_in_time_is_unknown(drive: Driver, world: World) -> None:
    world.will_answer("POST /fal/", late(says(200, {"request_id": "r"}), 2.0))
    providers = {"fal": {"api_key": "k", "base_url": f"{world.url}/fal"}}
    client = drive.client(receiver_url=world.url, api_key="rk", providers=providers, timeout=1.0)
    with pytest.raises(SubmitOutcomeUnknown):
        drive(client.submit(**FAL))
    assert len(world.to("POST /fal/")) == 1


def test_an_endless_answer_is_not_read_to_its_end_and_is_unknown(drive: Driver, client: Any, world: World) -> None:
    world.will_answer("POST /fal/", file(b" " * (9 * 1024 * 1024)))
    with pytest.raises(SubmitOutcomeUnknown):
        drive(client.submit(**FAL))
    assert len(world.to("POST /fal/")) == 1


def test_a_provider_that_is_not_there_started_nothing(drive: Driver, world: World, dead_url: str) -> None:
    providers = {"fal": {"api_key": "k", "base_url": dead_url}}
    client = drive.client(receiver_url=world.url, api_key="rk", providers=providers)
    with pytest.raises(ProviderUnavailable):
        drive(client.submit(**FAL))
    assert [seen.json()["outcome"] for seen in world.to("POST /v1/jobs/")] == ["refused"]


def test_a_receiver_that_is_not_there_costs_nothing(drive: Driver, world: World, dead_url: str) -> None:
    providers = {"fal": {"api_key": "k", "base_url": f"{world.url}/fal"}}
    client = drive.client(receiver_url=dead_url, api_key="rk", providers=providers)
    with pytest.raises(ReceiverUnavailable):
        drive(client.submit(**FAL))
    assert not world.seen


@pytest.mark.parametrize("key", ["sk-geheim\n", "sk-geheim\r\nx: y", "sk-gehéim", "sk-geheim\x00"], ids=repr)
def test_a_key_that_no_header_can_carry_is_refused_at_once_and_not_shown(drive: Driver, world: World, key: str) -> None:
    """Most often it was read from a file with its line end."""
    for settings in ({"api_key": key}, {"api_key": "rk", "provider_keys": {"fal": key}}):
        with pytest.raises(ConfigurationError) as caught:
            drive.client(receiver_url=world.url, **settings)
        assert "geh" not in str(caught.value)


# Uploading


@pytest.mark.parametrize("kind", ["bytes", "file", "url", "redirected url"])
def test_a_video_is_uploaded_whole_first(drive: Driver, client: Any, world: World, tmp_path: Path, kind: str) -> None:
    (tmp_path / "in.mp4").write_bytes(VIDEO)
    world.will_answer("GET /moved", sends_on(f"{world.url}/source.mp4"))
    video = {
        "bytes": VIDEO,
        "file": tmp_path / "in.mp4",
        "url": f"{world.url}/source.mp4?sig=1",
        "redirected url": f"{world.url}/moved",
    }[kind]
    drive(client.submit(**{**USEAPI, "video": video}))
    (upload,) = world.to("POST /useapi/files/")
    assert upload.body == VIDEO
    assert upload.headers["content-type"] == "video/mp4"
    assert upload.headers["content-length"] == str(len(VIDEO))
    assert world.to("POST /useapi/videos/")[0].json()["video_path"] == "p/1.mp4"
    assert all("authorization" not in seen.headers for seen in world.to("GET /"))


def test_fals_key_is_not_sent_to_where_the_bytes_go(drive: Driver, client: Any, world: World) -> None:
    drive(client.submit(**{**FAL, "video": VIDEO}))
    (put,) = world.to("PUT /put")
    assert put.body == VIDEO
    assert "authorization" not in put.headers
    assert world.to("POST /fal/")[0].json()["video_url"] == "https://f.example/1"


@pytest.mark.parametrize("trouble", ["missing", "cut off", "nobody there"])
def test_a_video_that_cannot_be_fetched_is_the_callers_and_its_secrets_stay_his(
    drive: Driver, client: Any, world: World, dead_url: str, trouble: str
) -> None:
    world.will_answer("GET /missing", says(404))
    world.will_answer("GET /cut", file(VIDEO, cut_after=1000))
    base = dead_url if trouble == "nobody there" else world.url
    path = {"missing": "missing", "cut off": "cut", "nobody there": "x"}[trouble]
    address = f"{base.replace('://', '://jane:geheim@')}/{path}.mp4?sig=geheim"
    with pytest.raises(InvalidRequest) as caught:
        drive(client.submit(**{**USEAPI, "video": address}))
    assert caught.value.field == "video"
    assert "geheim" not in str(caught.value)
    (told,) = world.to("POST /v1/jobs/")
    assert told.json()["outcome"] == "refused"
    assert "geheim" not in told.body.decode()
    assert not world.to("POST /useapi/videos/")


def test_a_file_that_has_gone_is_the_callers_and_the_receiver_is_told(
    drive: Driver, client: Any, world: World, tmp_path: Path
) -> None:
    gone = VideoSource(kind=SourceKind.FILE, text=str(tmp_path / "gone.mp4"))
    with pytest.raises(InvalidRequest, match="video"):
        drive(client.submit(**{**USEAPI, "video": gone}))
    assert not world.to("POST /useapi/")
    assert [seen.json()["outcome"] for seen in world.to("POST /v1/jobs/")] in ([], ["refused"])


# Setting up


@pytest.mark.parametrize("kind", [Client, AsyncClient])
@pytest.mark.parametrize(
    "settings",
    [
        {"receiver_url": "http://hooks.example"},
        {"receiver_url": "http://10.0.0.1:8000"},
        {"receiver_url": "http://127.0.0.1.evil.example"},
        {"receiver_url": "hooks.example"},
        {"receiver_url": ""},
        {"receiver_url": "ftp://hooks.example"},
        {"receiver_url": "https://"},
        {"receiver_url": "https://[::1"},
        {"receiver_url": "https://hooks.example:port"},
        {"api_key": ""},
        {"provider_keys": {"sora": "k"}},
        {"providers": {"fal": {"colour": "red"}}},
        {"providers": {"fal": {"media_hosts": 7}}},
    ],
    ids=str,
)
def test_what_cannot_be_right_is_refused_when_a_client_is_made(kind: type[Any], settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        kind(**{"receiver_url": "https://hooks.example", "api_key": "rk", **settings})


@pytest.mark.parametrize(
    "address", ["http://localhost:1", "http://127.0.0.1:1/", "http://[::1]:1", "https://a.example"]
)
def test_only_loopback_may_go_without_tls(drive: Driver, address: str) -> None:
    drive.client(receiver_url=address, api_key="rk")


def test_a_client_is_made_from_the_environment(drive: Driver, world: World) -> None:
    environ = {
        "REPLYHOOK_RECEIVER_URL": world.url,
        "REPLYHOOK_API_KEY": "rk-geheim",
        "FAL_KEY": "sk-geheim",
        "REPLYHOOK_PROVIDERS__FAL__BASE_URL": f"{world.url}/fal",
        "USEAPI_TOKEN": "overridden",
        "REPLYHOOK_PROVIDERS__USEAPI__API_KEY": "ua-geheim",
        "REPLYHOOK_PROVIDERS__USEAPI__BASE_URL": f"{world.url}/useapi",
        "PATH": "/bin",
    }
    client = drive.kind.from_env(environ)
    try:
        assert drive(client.submit(**FAL)).provider_job_id == ACCEPTED_ID
        assert drive(client.submit(**USEAPI)).provider_job_id == ACCEPTED_ID
    finally:
        drive(client.close())
    assert world.to("POST /fal/")[0].headers["authorization"] == "Key sk-geheim"
    assert world.to("POST /useapi/videos/")[0].headers["authorization"] == "Bearer ua-geheim"


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_everything_missing_in_the_environment_is_named_at_once(kind: type[Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"REPLYHOOK_RECEIVER_URL.*REPLYHOOK_API_KEY"):
        kind.from_env({"REPLYHOOK_API_KEY": ""})


def test_a_client_closes_itself_as_a_context_manager(world: World) -> None:
    providers = {"fal": {"api_key": "k", "base_url": f"{world.url}/fal"}}
    with Client(receiver_url=world.url, api_key="rk", providers=providers) as client:
        client.submit(**FAL)
    with pytest.raises(RuntimeError, match="closed"):
        client.submit(**FAL)


async def test_an_async_client_closes_itself_as_a_context_manager(world: World) -> None:
    providers = {"fal": {"api_key": "k", "base_url": f"{world.url}/fal"}}
    async with AsyncClient(receiver_url=world.url, api_key="rk", providers=providers) as client:
        await client.submit(**FAL)
    with pytest.raises(RuntimeError, match="closed"):
        await client.submit(**FAL)


def test_a_refusal_of_any_kind_can_be_caught_as_one(drive: Driver, client: Any, world: World) -> None:
    world.will_answer("POST /fal/", says(401, {"detail": "No user found"}))
    with pytest.raises(SubmissionRefused, match="No user found"):
        drive(client.submit(**FAL))


async def test_a_program_that_is_stopped_in_mid_submit_still_tells_the_receiver(world: World) -> None:
    world.will_answer("POST /fal/", late(says(200, {"request_id": "r"}), 1.0))
    providers = {"fal": {"api_key": "k", "base_url": f"{world.url}/fal"}}
    async with AsyncClient(receiver_url=world.url, api_key="rk", providers=providers) as client:
        submitting = asyncio.create_task(client.submit(**FAL))
        async with asyncio.timeout(60):
            while not world.to("POST /fal/"):
                await asyncio.sleep(0.02)
        submitting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await submitting
    assert [seen.json()["outcome"] for seen in world.to("POST /v1/jobs/")] == ["unknown"]
    assert len(world.to("POST /fal/")) == 1
