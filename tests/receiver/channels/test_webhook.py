"""The webhook channel keeps the contract; signatures and retries are seen in ``tests/receiver/work/test_notify.py``."""

import json
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from replyhook_receiver.channels.webhook import WebhookChannel
from replyhook_receiver.endpoints import MAX_SECRETS, SigningSecret, rotated
from replyhook_receiver.net import Door
from tests.contracts.channel_contract import NOW, ChannelContract, Place, delivery, notification
from tests.receiver.support import LOOPBACK, WHSEC, Host, a_host, says

HOOK = "/hooks"
OLD, NEW = "whsec_" + "T0xE" * 10, "whsec_" + "TkVX" * 10


@dataclass
class WebPlace(Place):
    """An endpoint on the web. What arrived is kept with its headers: the id is in one."""

    host: Host

    def arrived(self) -> list[str]:
        return [json.dumps([headers, body.decode()]) for _, _, headers, body in self.host.seen if not self.refused]

    refused = False

    def refuse(self, how: str) -> None:
        self.host.will(HOOK, says({"later": 503, "never": 410}[how], self.url.encode()))
        self.refused = True

    def leave(self) -> None:
        self.url = self.url.replace(self.host.url, "http://127.0.0.1:9")


@asynccontextmanager
async def on_the_web() -> AsyncIterator[WebPlace]:
    async with a_host() as host, Door(allowed_networks=(LOOPBACK,)) as door:
        url = f"{host.will(HOOK, says(200, b'thanks'))}?key=geheim-123"
        yield WebPlace(channel=WebhookChannel(door=door, secrets=(WHSEC,)), url=url, secret="geheim-123", host=host)


class TestWebhook(ChannelContract):
    impossible = (
        "https://10.0.0.1/x", "http://169.254.169.254/", "https://[::1]/", "http://93.184.215.14/", "ftp://x.example/",
        "hooks", "", "file:///etc/passwd", "https://[::ffff:10.0.0.1]/", "https://0x0a000001/",
    )  # fmt: skip

    def a_place(self, request: pytest.FixtureRequest) -> AbstractAsyncContextManager[Place]:
        del request
        return on_the_web()

    def check_harmless(self, arrived: str, words: str) -> None:
        headers, body = json.loads(arrived)
        assert json.loads(body)["data"]["reference"] == words, "a program gets the words as they are"
        assert not {"bcc", "x-injected"} & set(headers)
        assert max(len(value) for value in headers.values()) < 200


async def sent(place: WebPlace, **more: Any) -> tuple[dict[str, str], bytes]:
    now = datetime.now(UTC)  # a signature is good for five minutes
    await place.channel.send(delivery(place.url, notification(), **more), now=now)
    return place.host.seen[-1][2:]


def is_signed_by(secret: str, headers: dict[str, str], body: bytes) -> bool:
    try:
        Webhook(secret).verify(body, headers)
    except WebhookVerificationError:
        return False
    return True


async def test_while_an_endpoints_secret_is_rotated_every_one_that_has_not_expired_signs() -> None:
    older = SigningSecret(value=OLD, expires_at=NOW + timedelta(hours=1))
    async with on_the_web() as place:
        both = await sent(place, secrets=(SigningSecret(value=NEW), older))
        assert [is_signed_by(secret, *both) for secret in (NEW, OLD, WHSEC)] == [True, True, False]
        assert both[0]["webhook-signature"].count("v1,") == 2
        expired = replace(older, expires_at=NOW)
        after = await sent(place, secrets=(SigningSecret(value=NEW), expired))
        assert [is_signed_by(secret, *after) for secret in (NEW, OLD)] == [True, False]


def test_a_rotation_lets_no_secret_live_longer_than_it_had() -> None:
    hour = timedelta(hours=1)
    secrets = [SigningSecret(value=OLD)]
    secrets = rotated(secrets, NEW, overlap=24 * hour, now=NOW)
    assert [(each.value, each.expires_at) for each in secrets] == [(NEW, None), (OLD, NOW + 24 * hour)]
    secrets = rotated(secrets, WHSEC, overlap=48 * hour, now=NOW + hour)
    assert [each.expires_at for each in secrets] == [None, NOW + 49 * hour, NOW + 24 * hour]
    assert [each.value for each in rotated(secrets, OLD, overlap=0 * hour, now=NOW)] == [OLD]
    for _ in range(20):
        secrets = rotated(secrets, NEW, overlap=24 * hour, now=NOW)
    assert len(secrets) == MAX_SECRETS


async def test_an_endpoints_own_headers_are_sent_and_never_replace_ours() -> None:
    async with on_the_web() as place:
        headers, body = await sent(place, headers={"Authorization": "Bearer geheim", "X-Team": "video"})
        assert (headers["authorization"], headers["x-team"]) == ("Bearer geheim", "video")
        assert headers["content-type"] == "application/json"
        assert is_signed_by(WHSEC, headers, body)


async def test_an_answer_that_repeats_what_it_was_sent_is_kept_without_it() -> None:
    async with on_the_web() as place:
        headers = {"Authorization": "Bearer geheim-4711"}
        place.host.will(HOOK, says(200, b"you sent Bearer geheim-4711 to " + place.url.encode() + b"x" * 5000))
        answer = await place.channel.send(delivery(place.url, notification(), headers=headers), now=NOW)
        assert "geheim" not in answer.text
        assert 100 < len(answer.text) <= 1024
