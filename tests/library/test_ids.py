"""Ids: prefixed, of one length, and sorted by their time."""

from hypothesis import given
from hypothesis import strategies as st

from replyhook.ids import is_id, made_at_ms, new_id

SECONDS = st.integers(0, 10**13).map(lambda milliseconds: milliseconds / 1000)


@given(earlier=SECONDS, later=SECONDS)
def test_ids_sort_by_the_time_they_were_made(earlier: float, later: float) -> None:
    if int(earlier * 1000) < int(later * 1000):
        assert new_id("job", at=earlier) < new_id("job", at=later)


def test_ids_a_few_milliseconds_apart_sort() -> None:
    made = [new_id("job", at=1_700_000_000 + place * 0.005) for place in range(200)]
    assert made == sorted(made)


def test_ids_of_the_clock_sort_too() -> None:
    assert new_id("cb", at=1_600_000_000) < new_id("cb") < new_id("cb", at=4_000_000_000)


@given(at=SECONDS)
def test_an_id_has_its_form_and_no_other_prefix(at: float) -> None:
    made = new_id("job", at=at)
    assert len(made) == len("job_") + 26
    assert is_id("job", made)
    assert not is_id("cb", made)
    assert made == made.lower()


@given(at=SECONDS)
def test_an_id_says_when_it_was_made(at: float) -> None:
    assert made_at_ms(new_id("ntf", at=at)) == int(at * 1000)


def test_no_two_ids_are_the_same() -> None:
    assert len({new_id("evt", at=1.0) for _ in range(2000)}) == 2000


@given(text=st.text())
def test_any_other_text_is_no_id(text: str) -> None:
    assert not is_id("job", text)
    assert not is_id("job", f"job_{text}") or len(text) == 26


def test_near_misses_are_no_ids() -> None:
    made = new_id("job", at=1.0)
    for text in (
        made[:-1],
        made + "0",
        made.upper(),
        made.replace("_", "-"),
        made[:-1] + "i",
        made[:-1] + "é",
        f" {made}",
    ):
        assert not is_id("job", text)
