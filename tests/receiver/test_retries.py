"""When to try again."""

from datetime import timedelta

import pytest

from replyhook_receiver.retries import DELIVERIES, DOWNLOADS, RESULTS, RetryPolicy

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
