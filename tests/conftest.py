"""What every test shares: one async backend, contracts with readable failures, and a count of what is only guessed."""

import os
import re
from collections.abc import Generator
from itertools import groupby

import pytest
from hypothesis import HealthCheck, settings

pytest.register_assert_rewrite("tests.contracts")
# Where a change is judged (CI) the same examples are tried each time; elsewhere others each time.
is_judged = bool(os.environ.get("REPLYHOOK_REQUIRE_ALL"))
settings.register_profile(
    "replyhook",
    deadline=None,
    print_blob=True,
    derandomize=is_judged,
    suppress_health_check=[HealthCheck.too_slow],  # a busy machine is no fault
)
settings.load_profile("replyhook")

from tests.callbacks import every_recorded  # noqa: E402 - after the registration above, which it may come to need


@pytest.fixture
def anyio_backend() -> str:
    """Async tests run on asyncio alone: it is what the receiver runs on."""
    return "asyncio"


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--long-faults`."""
    parser.addoption(
        "--long-faults",
        action="store_true",
        help="the crash tests' long forms: 100 kills, 10,000 acknowledged callbacks, about five minutes; and 200 jobs "
        "whose notifications are refused every third time, two minutes; see them at work with: "
        "pytest -n 0 --long-faults tests/faults/test_kill.py tests/faults/test_deliveries_kill.py",
    )


def pytest_xdist_auto_num_workers() -> int:
    """A few more processes than cores: much of what is tested waits for others, or for its time."""
    return (os.cpu_count() or 1) + 2


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """File by file, with what takes long spread among the rest: together it would only be in its own way."""
    files = [list(group) for _, group in groupby(items, key=lambda item: item.path)]
    long = [file for file in files if "faults" in file[0].path.parts or file[0].path.parent.name == "tests"]
    rest = [file for file in files if file not in long]
    each = max(1, len(rest) // (len(long) + 1))
    for place, file in enumerate(long):
        rest.insert(place * (each + 1), file)
    items[:] = [item for file in rest for item in file]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give a contract's test one run for each of its class's ``CASES[argument]``."""
    for argument, cases in getattr(metafunc.cls, "CASES", {}).items():
        if argument in metafunc.fixturenames:
            metafunc.parametrize(argument, cases, ids=str)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where everything is to be there (CI), what is missing fails a test instead of skipping it.

    Not what CI has said it cannot come by: it sets the variable ``WITHOUT_…`` that the test's reason names.
    """
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("REPLYHOOK_REQUIRE_ALL"):
        if any(os.environ.get(name) for name in re.findall(r"\bWITHOUT_[A-Z_]+", str(report.longrepr))):
            return report
        report.outcome = "failed"
        report.longrepr = f"skipped, though REPLYHOOK_REQUIRE_ALL is set: {report.longrepr}"
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many of the recorded callbacks nobody has seen yet."""
    everything = every_recorded()
    guesses = [entry for entry in everything if entry.is_guess]
    terminalreporter.write_line(f"recorded callbacks: {len(guesses)} of {len(everything)} were never seen live")
