"""The error tree as it is drawn, and as it is."""

import inspect
import re

import replyhook
from replyhook import errors
from replyhook.errors import InvalidRequest, ReplyhookError


def drawn() -> dict[str, str | None]:
    """Each error's name and its parent's, as the module's docstring draws them."""
    parents: dict[str, str | None] = {}
    above: dict[int, str] = {}
    for indent, name in re.findall(r"^( *)[*+-] (\w+)", errors.__doc__ or "", flags=re.MULTILINE):
        above[len(indent)] = name
        parents[name] = above.get(len(indent) - 2)
    return parents


def test_the_tree_drawn_is_the_tree_there_is() -> None:
    classes = {
        name: kind
        for name, kind in vars(errors).items()
        if inspect.isclass(kind) and kind.__module__ == errors.__name__
    }
    real = {name: kind.__bases__[0].__name__ if kind is not ReplyhookError else None for name, kind in classes.items()}
    assert drawn() == real
    assert len(real) > 15


def test_every_error_is_described_in_one_sentence() -> None:
    for name in drawn():
        assert (getattr(errors, name).__doc__ or "").strip().split("\n")[0].endswith(".")


def test_retryable_is_what_can_succeed_without_a_change() -> None:
    retryable = {name for name in drawn() if getattr(errors, name).retryable}
    assert retryable == {
        "KeysUnavailable",
        "RateLimited",
        "ProviderUnavailable",
        "ReceiverUnavailable",
        "VideoNotStored",
        "WaitTimeout",
    }


def test_a_wait_that_timed_out_is_a_timeout_error() -> None:
    assert issubclass(replyhook.WaitTimeout, TimeoutError)


def test_an_invalid_request_names_field_value_provider_and_what_is_allowed() -> None:
    error = InvalidRequest("duration", 99, "one of 5, 8", provider="useapi")
    assert str(error) == "duration=99 is not possible for useapi: one of 5, 8"
    assert (error.field, error.value, error.allowed, error.provider) == ("duration", 99, "one of 5, 8", "useapi")


def test_a_long_value_is_shortened() -> None:
    assert len(str(InvalidRequest("prompt", "p" * 100_000, "at most 2048"))) < 200
