"""Providers and receivers that mean harm, or are out of order: bounded in bytes and time, and no money spent twice."""

import time
from pathlib import Path
from typing import Any

import pytest

from replyhook.errors import SubmitOutcomeUnknown, UnreadableMessage
from tests.library.conftest import FAL, Driver
from tests.library.loopback import World, event, file, says, script, sends_on, trickles


@pytest.mark.parametrize(
    "reply_url",
    ["https://hooks.example/" + "x" * 1003, "hooks.example/callbacks", "https://hooks.example/a b", "", "ftp://a/b", 7],
    ids=lambda url: str(url)[:30],
)
def test_a_reply_url_that_no_provider_could_call_ends_it_before_money_is_spent(
    drive: Driver, client: Any, world: World, reply_url: object
) -> None:
    world.will_answer("PUT /v1/jobs/", says(201, {"reply_url": reply_url}))
    with pytest.raises(UnreadableMessage, match="reply"):
        drive(client.submit(**FAL))
    assert not world.to("POST /fal/")


def test_an_answer_that_trickles_is_not_waited_for_and_is_unknown(drive: Driver, world: World) -> None:
    world.will_answer("POST /fal/", trickles(seconds=20))
    providers = {"fal": {"api_key": "k", "base_url": f"{world.url}/fal"}}
    client = drive.client(receiver_url=world.url, api_key="rk", providers=providers, timeout=1.0)
    began = time.monotonic()
    with pytest.raises(SubmitOutcomeUnknown):
        drive(client.submit(**FAL))
    assert time.monotonic() - began < 15
    assert len(world.to("POST /fal/")) == 1


def test_a_submit_that_is_sent_elsewhere_does_not_go_there(drive: Driver, client: Any, world: World) -> None:
    world.will_answer("POST /fal/", sends_on(f"{world.url}/elsewhere"))
    with pytest.raises(SubmitOutcomeUnknown):
        drive(client.submit(**FAL))
    assert not world.to("POST /elsewhere")


@pytest.mark.parametrize("what", ["submit", "download", "wait"])
def test_a_refusal_without_an_end_is_not_read_to_it(
    drive: Driver, client: Any, world: World, tmp_path: Path, what: str
) -> None:
    job = drive(client.submit(**FAL))
    endless = file(b" " * (9 * 1024 * 1024), status=403)
    starts = {"submit": "PUT /v1/jobs/", "download": "GET /v1/jobs/", "wait": "GET /v1/stream"}
    world.will_answer(starts[what], endless)
    calls = {
        "submit": lambda: client.submit(**FAL),
        "download": lambda: job.download(tmp_path / "x"),
        "wait": lambda: job.wait(3),
    }
    with pytest.raises(UnreadableMessage, match="larger than"):
        drive(calls[what]())


def test_an_event_without_an_end_breaks_the_stream_off_and_it_is_opened_again(
    drive: Driver, job: Any, world: World
) -> None:
    endless = ["data: " + "x" * 256 * 1024 + "\n"] * 40
    too_far = event(1, "job.canceled", id="job")
    world.streams(script(*endless, "\n", too_far), script(event(2, "video.stored", id="job")))
    assert drive(job.wait(60)).type == "video.stored"
    assert len(world.to("GET /v1/stream")) == 2
