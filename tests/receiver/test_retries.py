"""When to try again."""

from datetime import timedelta

import pytest

from replyhook_receiver.retries import DELIVERIES, DOWNLOADS, PROBED_AFTER, RESULTS, RetryPolicy, probe_pause

POLICY = RetryPolicy(delays=(10, 100), jitter=0.5)
DAY = 86_400.0


@pytest.mark.parametrize(
    ("attempt", "luck", "asked", "seconds"),
    [
        (1, 0.0, None, 10.0),  # 10 * (1 + 0.5 * 0)
        (1, 0.5, None, 12.5),  # 10 * (1 + 0.5 * 0.5)
        (1, 1.0, None, 15.0),  # 10 * (1 + 0.5 * 1)
        (2, 0.0, None, 100.0),  # the second wait
        (2, 1.0, None, 150.0),  # 100 * (1 + 0.5 * 1)
        (1, 0.0, timedelta(seconds=3), 10.0),  # what was asked is the least, and less than our own
        (1, 1.0, timedelta(seconds=12), 15.0),  # 15 > 12
        (1, 0.0, timedelta(minutes=2), 120.0),  # 120 > 10
        (1, 0.0, timedelta(days=9), DAY),  # never longer than a day on another's word
        (3, 0.0, None, None),  # two waits are three tries
        (3, 0.0, timedelta(seconds=3), None),  # asking for another try does not make one
        (99, 0.0, None, None),
    ],
)
def test_the_wait_before_the_next_try(
    attempt: int, luck: float, asked: timedelta | None, seconds: float | None
) -> None:
    assert POLICY.next_delay(attempt=attempt, retryable=True, luck=luck, retry_after=asked) == seconds


def test_what_will_not_get_better_is_not_tried_again() -> None:
    assert POLICY.next_delay(attempt=1, retryable=False, luck=0.0, retry_after=timedelta(seconds=3)) is None


@pytest.mark.parametrize(
    ("policy", "attempts", "shortest", "longest"),
    [
        # 5 + 60 + 300 + 1,800 + 7,200 + 18,000 + 36,000 + 50,400 + 86,400 = 200,165 s; with jitter 1.2 times that
        (DELIVERIES, 10, 200_165, 240_198),
        # 1 + 5 + 15 + 60 + 300 + 900 + 1,800 + 3,600 + 7,200 + 14,400 = 28,281 s; 33,937.2 with jitter
        (DOWNLOADS, 11, 28_281, 33_938),
        # 5 + 60 = 65 s; three questions at most (P8)
        (RESULTS, 3, 65, 78),
    ],
)
def test_how_long_and_how_often_we_try(policy: RetryPolicy, attempts: int, shortest: int, longest: int) -> None:
    assert policy.attempts == attempts
    tries = range(1, attempts)
    assert sum(policy.next_delay(attempt=number, retryable=True, luck=0.0) or 0 for number in tries) == shortest
    assert sum(policy.next_delay(attempt=number, retryable=True, luck=1.0) or 0 for number in tries) <= longest
    assert policy.next_delay(attempt=attempts, retryable=True, luck=0.0) is None


@pytest.mark.parametrize(
    ("attempt", "shortest", "longest"),
    [
        (1, 5, 6),  # 5 s, and up to a fifth more: 5 * 1.2
        (2, 60, 72),  # 1 min
        (3, 300, 360),  # 5 min
        (4, 1_800, 2_160),  # 30 min
        (5, 7_200, 8_640),  # 2 h
        (6, 18_000, 21_600),  # 5 h
        (7, 36_000, 43_200),  # 10 h
        (8, 50_400, 60_480),  # 14 h
        (9, 86_400, 103_680),  # 24 h
    ],
)
def test_the_waits_between_the_tries_of_a_delivery(attempt: int, shortest: float, longest: float) -> None:
    assert DELIVERIES.next_delay(attempt=attempt, retryable=True, luck=0.0) == shortest
    assert DELIVERIES.next_delay(attempt=attempt, retryable=True, luck=1.0) == pytest.approx(longest)
    day = DELIVERIES.next_delay(attempt=attempt, retryable=True, luck=0.0, retry_after=timedelta(days=30))
    assert day == DAY, "nobody may ask for longer than a day"


@pytest.mark.parametrize(("failures", "seconds"), [(0, 0), (4, 0), (5, 5), (6, 10), (7, 20), (11, 300), (999, 300)])
def test_an_endpoint_that_fails_is_left_alone_for_longer_each_time(failures: int, seconds: float) -> None:
    assert PROBED_AFTER == 5
    assert probe_pause(failures) == timedelta(seconds=seconds)
