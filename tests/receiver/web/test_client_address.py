"""Whose request it is, whatever a stranger writes into X-Forwarded-For."""

from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replyhook_receiver.web.client_address import MAX_HOPS, client_address

PROXIES = [ip_network("10.0.0.0/8"), ip_network("2001:db8:ffff::/48")]


def address(peer: str | None, *forwarded: bytes, trusted: Any = PROXIES) -> str:
    headers = [(b"host", b"x"), *((b"x-forwarded-for", value) for value in forwarded)]
    return client_address({"client": (peer, 40000) if peer else None, "headers": headers}, trusted)


def test_without_trusted_proxies_it_is_the_peer_whatever_is_forwarded() -> None:
    for peer in ("203.0.113.7", "127.0.0.1", "::1"):
        assert address(peer, b"198.51.100.1", trusted=()) == peer


def test_a_peer_that_is_not_a_trusted_proxy_speaks_for_nobody_else() -> None:
    assert address("203.0.113.7", b"198.51.100.1") == "203.0.113.7"


def test_behind_trusted_proxies_it_is_the_right_most_that_is_none() -> None:
    assert address("10.0.0.1", b"198.51.100.1") == "198.51.100.1"
    assert address("10.0.0.1", b"6.6.6.6, 198.51.100.1 , 10.9.9.9") == "198.51.100.1"
    assert address("10.0.0.1", b"6.6.6.6", b"198.51.100.1,10.9.9.9") == "198.51.100.1"
    assert address("2001:db8:ffff::1", b"10.1.1.1,198.51.100.1") == "198.51.100.1"
    assert address("::ffff:10.0.0.1", b"198.51.100.1") == "198.51.100.1"


def test_only_proxies_are_the_outermost_of_them_and_none_at_all_the_peer() -> None:
    assert address("10.0.0.1", b"10.0.0.3,10.0.0.2") == "10.0.0.3"
    assert address("10.0.0.1") == "10.0.0.1"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (b"198.51.100.1:443", "198.51.100.1"),
        (b"2001:db8::1", "2001:db8::1"),
        (b"[2001:db8::1]", "2001:db8::1"),
        (b"[2001:db8::1]:443", "2001:db8::1"),
        (b"fe80::1%eth0", "fe80::1"),
        (b"[fe80::1%25eth0]:9", "fe80::1"),
        (b"::ffff:198.51.100.1", "198.51.100.1"),
        (b"::FFFF:10.0.0.9", "10.0.0.9"),
    ],
)
def test_an_address_is_read_as_proxies_write_it(written: bytes, meant: str) -> None:
    assert address("10.0.0.1", written) == meant


@pytest.mark.parametrize(
    "garbage",
    [
        b"", b" ", b",", b"unknown", b"_hidden", b"localhost", b"1.2.3", b"1.2.3.4.5", b"999.1.1.1", b"0x7f.1",
        b"\xff\xfe", b"\xd9\xa3.1.1.1", b"'1.2.3.4'", b'"1.2.3.4"', b"1.2.3.4 5.6.7.8", b"[", b"]", b"[]:1", b":::",
        b"::1::", b"%", b"x" * 60_000, b"-1", b"1e9",
    ],
    ids=lambda garbage: repr(garbage[:12]),
)  # fmt: skip
def test_what_stands_left_of_garbage_is_not_believed(garbage: bytes) -> None:
    assert address("10.0.0.1", b"6.6.6.6," + garbage) == "10.0.0.1"
    assert address("10.0.0.1", b"6.6.6.6," + garbage + b",10.2.2.2") == "10.2.2.2"
    assert address("10.0.0.1", garbage + b",198.51.100.1") == "198.51.100.1"


def test_a_long_list_is_read_from_the_right_and_not_to_its_end() -> None:
    assert address("10.0.0.1", b"6.6.6.6," * 20_000 + b"198.51.100.1") == "198.51.100.1"
    assert address("10.0.0.1", b"6.6.6.6" + b",10.0.0.2" * MAX_HOPS) == "10.0.0.2"
    assert address("10.0.0.1", b"6.6.6.6" + b",10.0.0.2" * (MAX_HOPS - 1)) == "6.6.6.6"


def test_a_peer_without_an_address_is_nobody_in_particular() -> None:
    assert address(None, b"6.6.6.6") == "unknown"
    assert address("", b"6.6.6.6") == "unknown"


@given(forwarded=st.lists(st.binary(max_size=40), max_size=5))
def test_whatever_is_forwarded_the_outcome_is_an_address(forwarded: list[bytes]) -> None:
    assert ip_address(address("10.0.0.1", *forwarded))
    assert address("203.0.113.7", *forwarded) == "203.0.113.7"
