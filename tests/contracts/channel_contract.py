"""What every channel must do: send once, say whether another try may help, keep its URL to itself, fear no words."""

import json
import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from replyhook.errors import InvalidRequest, ReplyhookError
from replyhook.ids import new_id
from replyhook_receiver.answers import Answer
from replyhook_receiver.channels.base import Channel
from replyhook_receiver.errors import NetworkRefused, ReceiverTrouble
from replyhook_receiver.records import DeliveryRecord, DeliveryStatus, NotificationRecord, NotifyTarget

NOW = datetime.now(UTC)
MEGABYTE = 1024 * 1024
HOSTILE = {
    "html": "<script>alert(1)</script><img src=x onerror=alert(1)>&\"'",
    "line ends": "one\r\nBcc: mallory@evil.example\r\n\r\n<h1>two</h1>\n.\r\nQUIT\r\n",
    "other line ends": "one\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029Bcc: mallory@evil.example",
    "control": "\x00\x07\x1b]0;owned\x07\x1b[2J\x7f\u202egnp.exe\u200b",
    "encoded word": "=?utf-8?q?=0D=0ABcc:_mallory@evil.example?=",
    "megabyte": "x" * MEGABYTE,
    "wide megabyte": "\U0001f3ac" * (MEGABYTE // 4),
    "nothing": "",
}


@dataclass
class Place:
    """Somewhere that notifications really arrive. ``url`` has a secret in it, where its channel's URLs can."""

    channel: Channel
    url: str
    secret: str

    def arrived(self) -> list[str]:
        """Each message that was taken, as text for people or programs."""
        raise NotImplementedError

    def refuse(self, how: str) -> None:
        """Take nothing from now on: ``later`` or ``never``."""
        raise NotImplementedError

    def leave(self) -> None:
        """Be away from now on."""
        raise NotImplementedError


def notification(words: str = "order-42", *, kind: str = "video.failed", **about: Any) -> NotificationRecord:
    """One about a job all of whose words are these."""
    job = new_id("job")
    content = {
        "id": job, "reference": words, "user": words, "provider": "fal", "status": "failed", "progress": 40,
        "title": words, "prompt": words, "error": {"code": words, "message": words}, "overdue_reason": words,
        "video": {"url": None, "problem": words},
    }  # fmt: skip
    body = json.dumps({"type": kind, "timestamp": NOW.isoformat(), "data": content | about}).encode()
    return NotificationRecord(sequence=1, id=new_id("ntf"), job_id=job, type=kind, body=body)


def delivery(url: str, told: NotificationRecord, channel: str = "x", **more: Any) -> DeliveryRecord:
    """The duty to bring it there."""
    target = NotifyTarget(url=url, channel=channel, **more)
    return DeliveryRecord(
        id=new_id("dlv"), notification=told, channel=channel, target=target, status=DeliveryStatus.PENDING
    )


async def trouble(place: Place, told: NotificationRecord | None = None, url: str | None = None) -> Exception:
    """What sending raises."""
    with pytest.raises((ReceiverTrouble, ReplyhookError)) as caught:
        await place.channel.send(delivery(place.url if url is None else url, told or notification()), now=NOW)
    return caught.value


class ChannelContract(ABC):
    """Subclass, say where its notifications arrive, and inherit the tests."""

    impossible: tuple[str, ...]
    """URLs that it would never send to."""
    says_never = True
    """Whether the other side can say that it will never take something."""

    @abstractmethod
    def a_place(self, request: pytest.FixtureRequest) -> AbstractAsyncContextManager[Place]:
        """Somewhere to send to."""

    @pytest.fixture
    async def place(self, request: pytest.FixtureRequest) -> AsyncIterator[Place]:
        async with self.a_place(request) as place:
            yield place

    async def test_its_own_url_is_possible(self, place: Place) -> None:
        await place.channel.check(place.url)

    async def test_it_sends_once_and_tells_the_notifications_id(self, place: Place) -> None:
        told = notification()
        answer = await place.channel.send(delivery(place.url, told), now=NOW)
        assert isinstance(answer, Answer)
        (arrived,) = place.arrived()
        assert told.id in arrived
        assert "order-42" in arrived

    async def test_a_repeat_has_the_same_id(self, place: Place) -> None:
        told = notification()
        for _ in range(2):
            await place.channel.send(delivery(place.url, told), now=NOW)
        assert [told.id in arrived for arrived in place.arrived()] == [True, True]

    async def test_what_may_be_taken_later_is_tried_again(self, place: Place) -> None:
        place.refuse("later")
        error = await trouble(place)
        assert isinstance(error, ReceiverTrouble)
        assert error.retryable
        assert place.arrived() == []

    async def test_what_will_never_be_taken_is_not(self, place: Place) -> None:
        if self.says_never:
            place.refuse("never")
            error = await trouble(place)
            assert isinstance(error, ReceiverTrouble)
            assert not error.retryable

    async def test_nobody_there_is_tried_again(self, place: Place) -> None:
        place.leave()
        error = await trouble(place)
        assert isinstance(error, ReceiverTrouble)
        assert error.retryable

    async def test_neither_an_error_nor_an_answer_nor_a_log_shows_the_url(
        self, place: Place, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        answer = await place.channel.send(delivery(place.url, notification()), now=NOW)
        shown = [repr(answer)]
        for how in ("later", "never"):
            place.refuse(how)
            shown += [_all_of(await trouble(place))]
        place.leave()
        shown += [_all_of(await trouble(place))]
        shown += [record.getMessage() for record in caplog.records if _is_ours(record)]
        assert place.secret not in "\n".join(shown)

    @pytest.mark.parametrize("words", HOSTILE.values(), ids=HOSTILE)
    async def test_hostile_words_are_only_words(self, place: Place, words: str) -> None:
        told = notification(words)
        await place.channel.send(delivery(place.url, told), now=NOW)
        (arrived,) = place.arrived()
        assert told.id in arrived
        self.check_harmless(arrived, words)

    @abstractmethod
    def check_harmless(self, arrived: str, words: str) -> None:
        """See that nothing of the words was obeyed on the way."""

    async def test_impossible_urls_are_refused_at_registration_and_at_use(self, place: Place) -> None:
        for url in self.impossible:
            with pytest.raises((InvalidRequest, NetworkRefused)):
                await place.channel.check(url)
            error = await trouble(place, url=url)
            assert isinstance(error, ReceiverTrouble | ReplyhookError)
            assert not error.retryable, url
        assert place.arrived() == []


def _is_ours(record: logging.LogRecord) -> bool:
    return not record.name.startswith(("aiosmtpd", "uvicorn", "asyncio"))


def _all_of(error: BaseException) -> str:
    parts = [str(error), repr(error), repr(getattr(error, "answer", None))]
    return "\n".join(parts + ([_all_of(error.__cause__)] if error.__cause__ else []))
