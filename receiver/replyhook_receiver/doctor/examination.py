"""The whole examination, check by check; one that fails by a fault of ours does not end it."""

from collections.abc import Callable, Iterator

from replyhook.errors import ReplyhookError
from replyhook_receiver.doctor.answering import check_answering
from replyhook_receiver.doctor.configured import check_configured
from replyhook_receiver.doctor.examined import Examined
from replyhook_receiver.doctor.findings import Finding, fail
from replyhook_receiver.doctor.kept import check_kept
from replyhook_receiver.doctor.reached import check_reached

_CHECKS: tuple[tuple[str, Callable[[Examined], Iterator[Finding]]], ...] = (
    ("settings", check_configured),
    ("data", check_kept),
    ("receiver", check_answering),
    ("network", check_reached),
)


def examine(examined: Examined) -> Iterator[Finding]:
    """Everything, as it is found."""
    for name, check in _CHECKS:
        try:
            yield from check(examined)
        except ReplyhookError as error:
            yield fail(name, str(error), "mend that, and run doctor again: the checks behind it were left out")
        except OSError as error:
            yield fail(
                name, f"{type(error).__name__}: {error.strerror or error}", "may this user read the data folder?"
            )
