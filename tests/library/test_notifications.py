"""What a user's own app does with a notification: verify it, then read it."""

import contextlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replyhook.errors import ConfigurationError, UnreadableMessage, VerificationError
from replyhook.notifications import Notification, NotificationType, read_notification, verify_notification
from replyhook.signatures import sign_standard_webhooks

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
CONTENT = {
    "type": "video.stored",
    "timestamp": "2026-11-21T11:59:58Z",
    "data": {"id": "job_1", "reference": "order-42"},
}
BODY = json.dumps(CONTENT).encode()


def signed(body: bytes = BODY, *, at: datetime = NOW, secret: str = SECRET) -> dict[str, str]:
    return {
        "webhook-id": "evt_1",
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": sign_standard_webhooks([secret], message_id="evt_1", sent_at=at, body=body),
    }


def test_a_genuine_notification_is_read() -> None:
    notification = verify_notification(signed(), BODY, SECRET, now=NOW)
    assert notification == Notification(
        id="evt_1",
        type="video.stored",
        timestamp=datetime(2026, 11, 21, 11, 59, 58, tzinfo=UTC),
        data={"id": "job_1", "reference": "order-42"},
    )
    assert notification.type == NotificationType.VIDEO_STORED
    assert "order-42" not in repr(notification)


def test_header_names_may_be_written_in_any_case() -> None:
    shouted = {name.upper(): value for name, value in signed().items()}
    assert verify_notification(shouted, BODY, SECRET, now=NOW).id == "evt_1"


def test_the_clock_is_read_when_no_time_is_given() -> None:
    assert verify_notification(signed(at=datetime.now(UTC)), BODY, SECRET).id == "evt_1"
    with pytest.raises(VerificationError):
        verify_notification(signed(at=datetime.now(UTC) - timedelta(hours=1)), BODY, SECRET)


def test_either_secret_will_do_during_a_rotation() -> None:
    new = "whsec_plJ3nmyCDGBKInavdOK15jsl"
    assert verify_notification(signed(), BODY, [new, SECRET], now=NOW).id == "evt_1"
    with pytest.raises(VerificationError):
        verify_notification(signed(), BODY, [new], now=NOW)


def test_forged_changed_stale_or_unsigned_is_refused() -> None:
    attempts: list[tuple[Mapping[str, str], bytes]] = [
        ({}, BODY),
        (signed(), BODY + b" "),
        (signed(secret="whsec_plJ3nmyCDGBKInavdOK15jsl"), BODY),
        (signed(at=NOW - timedelta(minutes=6)), BODY),
        (signed(at=NOW + timedelta(minutes=6)), BODY),
        ({**signed(), "webhook-id": "evt_2"}, BODY),
    ]
    attempts += [({name: value for name, value in signed().items() if name != left}, BODY) for left in signed()]
    for headers, body in attempts:
        with pytest.raises(VerificationError):
            verify_notification(headers, body, SECRET, now=NOW)


def test_a_signed_body_that_is_no_notification_is_unreadable() -> None:
    for body in (b"", b"[]", b"{}", b'{"type":"a","timestamp":"yesterday","data":{}}', b'{"type":1}'):
        with pytest.raises(UnreadableMessage):
            verify_notification(signed(body), body, SECRET, now=NOW)


def test_a_wrong_secret_is_told_apart_from_a_forgery() -> None:
    with pytest.raises(ConfigurationError):
        verify_notification(signed(), BODY, "the-console-password", now=NOW)


@given(content=st.dictionaries(st.sampled_from(["type", "timestamp", "data"]), st.text() | st.dates() | st.none()))
def test_any_content_is_a_notification_with_an_aware_time_or_unreadable(content: dict[str, Any]) -> None:
    try:
        read = read_notification("evt_1", json.dumps({"data": {}, **content}, default=str).encode())
    except UnreadableMessage:
        return
    assert read.timestamp.tzinfo is not None


@pytest.mark.parametrize("text", ["2026-11-21", "2026-11-21T12:00:00"])
def test_a_time_without_a_zone_is_not_passed_on(text: str) -> None:
    with contextlib.suppress(UnreadableMessage):
        assert read_notification("evt_1", json.dumps({**CONTENT, "timestamp": text}).encode()).timestamp.tzinfo


def test_only_what_says_that_a_job_is_on_its_way_is_progress() -> None:
    assert {kind for kind in NotificationType if kind.is_progress} == {"job.queued", "job.running"}
