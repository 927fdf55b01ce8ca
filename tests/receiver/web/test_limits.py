"""The limit on failed verifications: fair to each address, and small whatever strangers send."""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replyhook_receiver.web import limits
from replyhook_receiver.web.limits import FailureLimiter


@dataclass
class Seconds:
    """A monotonic clock that stands still until it is moved."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


def passed(limiter: FailureLimiter, address: str, times: int) -> int:
    return sum(limiter.count(address) is None for _ in range(times))


def test_an_address_may_fail_so_often_a_minute_and_then_hears_how_long_to_wait() -> None:
    clock = Seconds()
    limiter = FailureLimiter(per_minute=60, clock=clock)
    assert passed(limiter, "203.0.113.7", 100) == 60
    wait = limiter.count("203.0.113.7")
    assert wait == pytest.approx(1.0)
    clock.now += wait
    assert passed(limiter, "203.0.113.7", 5) == 1
    clock.now += 60
    assert passed(limiter, "203.0.113.7", 100) == 60


def test_one_addresses_failures_are_not_anothers() -> None:
    limiter = FailureLimiter(per_minute=1, clock=Seconds())
    assert [passed(limiter, address, 3) for address in ("192.0.2.1", "192.0.2.2", "unknown", "2001:db8::1")] == [1] * 4


def test_zero_switches_it_off() -> None:
    limiter = FailureLimiter(per_minute=0, clock=Seconds())
    assert passed(limiter, "192.0.2.1", 10_000) == 10_000
    assert len(limiter) == 0


def test_whoever_holds_a_64_of_ipv6_is_one_address() -> None:
    limiter = FailureLimiter(per_minute=2, clock=Seconds())
    same = ["2001:db8:0:1::1", "2001:DB8:0:1:ffff:ffff:ffff:ffff", "2001:0db8:0000:0001::", "2001:db8:0:1::2"]
    assert [limiter.count(address) is None for address in same] == [True, True, False, False]
    assert limiter.count("2001:db8:0:2::1") is None


def test_ipv4_inside_ipv6_is_ipv4() -> None:
    limiter = FailureLimiter(per_minute=1, clock=Seconds())
    assert limiter.count("::ffff:192.0.2.1") is None
    assert limiter.count("192.0.2.1") is not None
    assert limiter.count("::ffff:192.0.2.2") is None


def test_millions_of_addresses_cost_a_bounded_memory_and_are_limited_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_ADDRESSES", 100)
    clock = Seconds()
    limiter = FailureLimiter(per_minute=10, clock=clock)
    assert sum(limiter.count(str(IPv4Address(number))) is None for number in range(5000)) == 100 + 10
    assert len(limiter) <= 101
    clock.now += 60
    assert sum(limiter.count(str(IPv6Address(number << 64))) is None for number in range(1, 200)) > 100
    assert len(limiter) <= 101


def test_an_address_that_is_over_its_limit_is_not_forgotten_for_all_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_ADDRESSES", 100)
    limiter = FailureLimiter(per_minute=3, clock=Seconds())
    assert passed(limiter, "192.0.2.1", 10) == 3
    for number in range(1000):
        limiter.count(str(IPv4Address(number)))
    assert passed(limiter, "192.0.2.1", 10) == 0


def test_a_long_silence_saves_nothing_up() -> None:
    clock = Seconds()
    limiter = FailureLimiter(per_minute=5, clock=clock)
    for number in range(10):
        limiter.count(str(IPv4Address(number)))
    clock.now += 3600
    assert passed(limiter, str(IPv4Address(9)), 100) == 5


def test_an_address_of_any_length_costs_little() -> None:
    limiter = FailureLimiter(per_minute=1, clock=Seconds())
    assert limiter.count("x" * 10_000) is None
    assert limiter.count("x" * 10_001) is not None  # so what is kept is shorter than both


STEPS = st.lists(st.tuples(st.floats(0, 30), st.sampled_from(["192.0.2.1", "192.0.2.2"])), max_size=200)


@settings(max_examples=60)
@given(per_minute=st.integers(1, 20), steps=STEPS)
def test_no_minute_lets_more_through_than_promised_and_a_wait_that_was_kept_is_rewarded(
    per_minute: int, steps: list[tuple[float, str]]
) -> None:
    clock = Seconds()
    limiter = FailureLimiter(per_minute=per_minute, clock=clock)
    let_through: dict[str, list[float]] = {}
    for pause, address in steps:
        clock.now += pause
        wait = limiter.count(address)
        if wait is None:
            let_through.setdefault(address, []).append(clock.now)
            continue
        assert 0 < wait <= 60 / per_minute + 1e-6
        clock.now += wait
        assert limiter.count(address) is None
        let_through.setdefault(address, []).append(clock.now)
    for times in let_through.values():
        for first in times:
            assert sum(first <= time < first + 60 for time in times) <= 2 * per_minute
