"""When links end: what is read from them, and what is taken for granted."""

from datetime import UTC, datetime, timedelta

import pytest

from replyhook_receiver.link_expiry import life_of, said_by

HOST = "https://media.example/one.mp4?"
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
UNIX = int(NOON.timestamp())


@pytest.mark.parametrize(
    "query",
    [
        "X-Amz-Date=20261121T110000Z&X-Amz-Expires=3600&X-Amz-Signature=a",
        "x-amz-expires=3600&x-amz-date=20261121T110000Z",
        "X-Goog-Date=20261121T110000Z&X-Goog-Expires=3600&X-Goog-Signature=a",
        "X-Tos-Date=20261121T110000Z&X-Tos-Expires=3600",
        f"Expires={UNIX}&Signature=a&AWSAccessKeyId=b",
        f"Expires={UNIX}&Signature=a&Key-Pair-Id=b",
        f"OSSAccessKeyId=a&Expires={UNIX}&Signature=b",
        "sv=2022-11-02&se=2026-11-21T12%3A00%3A00Z&sig=a",
        "se=2026-11-21T13:00:00%2B01:00&sig=a",
        f"q-sign-time={UNIX - 60};{UNIX}&q-signature=a",
        f"Expires={UNIX}&Signature=a&se=2026-11-21T15:00:00Z",
    ],
)
def test_a_signed_link_says_when_it_ends(query: str) -> None:
    assert said_by(HOST + query) == NOON


@pytest.mark.parametrize(
    "url",
    [
        "https://media.example/one.mp4",
        HOST + f"expires={UNIX}",  # nothing is signed: it may mean anything
        HOST + "X-Amz-Expires=3600",
        HOST + "X-Amz-Date=yesterday&X-Amz-Expires=3600",
        HOST + "X-Amz-Date=99991231T235959Z&X-Amz-Expires=999999999999",
        HOST + "Expires=" + "9" * 5000 + "&Signature=a",
        HOST + "Expires=999999999999&Signature=a",
        HOST + "Expires=-5&Signature=a",
        HOST + "Expires=\u0661\u0662&Signature=a",
        HOST + "se=never&sig=a",
        HOST + "se=0001-01-01T00:00:00%2B14:00&sig=a",
        HOST + "Expires=1&sig=a",
        HOST + "&".join(f"a{number}=b" for number in range(1000)),
        "https://[",
        "relayed:job_1",
        "",
    ],
)
def test_what_says_nothing_is_no_end_and_no_error(url: str) -> None:
    assert said_by(url) is None


def test_what_the_link_says_outranks_the_providers_documents() -> None:
    told_at, day = NOON - timedelta(hours=4), timedelta(days=1)
    assert life_of(HOST, told_at=told_at, lifetime=day).ends_at == told_at + day
    assert life_of(f"{HOST}Expires={UNIX}&sig=a", told_at=told_at, lifetime=day).ends_at == NOON


@pytest.mark.parametrize(
    ("lifetime", "before"),
    [
        (timedelta(hours=1), timedelta(minutes=15)),  # a quarter
        (timedelta(hours=4), timedelta(hours=1)),
        (timedelta(days=7), timedelta(hours=1)),  # an hour at most
        (timedelta(0), timedelta(0)),
        (timedelta(hours=-1), timedelta(0)),  # it was over before we heard of it
    ],
)
def test_the_last_call_is_a_quarter_of_its_life_or_an_hour_before_its_end(
    lifetime: timedelta, before: timedelta
) -> None:
    life = life_of(HOST, told_at=NOON, lifetime=lifetime)
    assert life.ends_at - life.last_call_at == before
