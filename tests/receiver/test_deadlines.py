"""How long a job may stay silent, and when its provider is asked: arithmetic that must hold for any numbers."""

from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replyhook.providers import PROVIDERS, make_provider
from replyhook_receiver.deadlines import (
    ENOUGH,
    PRIOR,
    QUESTIONS,
    SHORTEST,
    UNASKED,
    CallbackTimes,
    Deadlines,
    clamped,
    next_question,
    percentile_99,
)
from tests.receiver.support import NOW

CAPABILITIES = [make_provider(name).capabilities for name in PROVIDERS]
SECONDS = st.floats(0, 10**6, allow_nan=False)
LIFETIMES = st.timedeltas(timedelta(minutes=4), timedelta(days=30))


def deadlines() -> Deadlines:
    return Deadlines(CAPABILITIES)


def times(
    *seconds: float, provider: str = "fal", quality: str | None = "540p", duration: int | None = 5
) -> CallbackTimes:
    return CallbackTimes(provider=provider, quality=quality, duration=duration, seconds=seconds)


@given(st.lists(SECONDS, min_size=1, max_size=400))
def test_at_most_one_job_in_a_hundred_takes_longer_than_its_99th_percentile(seconds: list[float]) -> None:
    found = percentile_99(seconds)
    assert sum(each > found for each in seconds) <= len(seconds) / 100
    smaller = [each for each in seconds if each < found]
    assert not smaller or sum(each > max(smaller) for each in seconds) > len(seconds) / 100  # and it is the smallest


@given(st.timedeltas(timedelta(0), timedelta(days=60)), LIFETIMES)
def test_a_wait_is_never_under_two_minutes_nor_over_half_of_what_the_result_lives(
    wait: timedelta, lifetime: timedelta
) -> None:
    found = clamped(wait, lifetime)
    assert SHORTEST <= found <= lifetime / 2
    assert found == wait or wait < SHORTEST or wait > lifetime / 2


@given(LIFETIMES, st.data())
def test_three_questions_are_asked_ever_further_apart_and_all_while_the_result_lives(
    lifetime: timedelta, data: st.DataObject
) -> None:
    wait = data.draw(st.timedeltas(SHORTEST, lifetime / 2))
    asked_at = [NOW + wait]
    for attempt in range(1, QUESTIONS + 2):
        after = next_question(begun_at=NOW, wait=wait, lifetime=lifetime, attempt=attempt, now=asked_at[-1])
        if after is None:
            break
        asked_at.append(asked_at[-1] + after)
    assert len(asked_at) == QUESTIONS
    assert asked_at[-1] < NOW + lifetime
    first, second = (later - earlier for earlier, later in pairwise(asked_at))
    assert timedelta(0) < first < second


@given(LIFETIMES, st.timedeltas(timedelta(0), timedelta(days=9)), st.integers(1, 5))
def test_nobody_is_asked_again_about_a_result_that_may_be_gone(
    lifetime: timedelta, late: timedelta, attempt: int
) -> None:
    now = NOW + lifetime + late
    assert next_question(begun_at=NOW, wait=PRIOR, lifetime=lifetime, attempt=attempt, now=now) is None


def test_a_kind_of_job_is_learned_from_thirty_callbacks_on() -> None:
    known = deadlines()
    request = {"quality": "540p", "duration": 5}
    assert known.wait("fal", request) == PRIOR
    known.learn([times(*[200.0] * (ENOUGH - 1))])
    assert known.wait("fal", request) == PRIOR
    known.learn([times(*[200.0] * ENOUGH)])
    assert known.wait("fal", request) == timedelta(seconds=200)


@pytest.mark.parametrize(
    ("provider", "asked"),
    [("aihubmax", {"quality": "540p", "duration": 5}), ("fal", {"quality": "720p", "duration": 5}), ("fal", {})],
    ids=["another provider", "another quality", "nothing said"],
)
def test_what_was_learned_of_one_kind_of_job_says_nothing_of_another(provider: str, asked: dict[str, object]) -> None:
    known = deadlines()
    known.learn([times(*[200.0] * ENOUGH)])
    assert known.wait(provider, asked) == PRIOR


def test_a_request_that_holds_nonsense_has_a_deadline_all_the_same() -> None:
    assert deadlines().wait("fal", {"quality": ["540p"], "duration": {"s": 5}}) == PRIOR


@pytest.mark.parametrize("name", sorted(PROVIDERS))
def test_what_is_learned_stays_within_what_the_providers_result_lives(name: str) -> None:
    known = deadlines()
    request = {"quality": "540p", "duration": 5}
    half = known.lifetime(name) / 2
    known.learn([times(*[1.0] * ENOUGH, provider=name)])
    assert known.wait(name, request) == (UNASKED if name == "segmind" else SHORTEST)
    known.learn([times(*[10.0**7] * ENOUGH, provider=name)])
    assert known.wait(name, request) == (UNASKED if name == "segmind" else half)


def test_the_latest_jobs_are_looked_at_once_in_ten_minutes_and_anew_when_the_clock_was_set_back() -> None:
    known = deadlines()
    asked = [known.is_due_to_learn(NOW + timedelta(minutes=minute)) for minute in (0, 1, 9, 10, 11, 3, 4)]
    assert asked == [True, False, False, True, False, True, False]
