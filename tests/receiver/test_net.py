"""The one door to the outside, against real servers on loopback."""

import asyncio
import gzip
import socket
import time
from collections.abc import AsyncIterator

import httpx
import pytest

from replyhook.errors import ConfigurationError
from replyhook.messages import HTTPRequest
from replyhook_receiver.errors import AnswerTooLarge, HostNotListed, NetworkRefused, NetworkTrouble
from replyhook_receiver.net import MAX_REDIRECTS, Door
from tests.receiver.support import LOOPBACK, Answer, Host, a_host, drips, raw_host, says, waits

METADATA = "169.254.169.254"
QUERY = "token=geheim"

PRIVATE = [
    "127.0.0.1", "127.1", "2130706433", "0x7f000001", "0x7f.0.0.1", "0177.0.0.1", "017700000001", "0", "0.0.0.0",  # noqa: S104
    "10.0.0.1", "10.1", "167772161", "172.16.0.1", "192.168.0.1", "192.168.1", "100.64.0.1", METADATA, "2852039166",
    "0xa9.0xfe.0xa9.0xfe", "169.254.170.2", "224.0.0.1", "255.255.255.255", "198.18.0.1", "192.0.0.8",
    "[::1]", "[::]", "[fe80::1]", "[fc00::1]", "[fd00:ec2::254]", "[fec0::1]", "[ff02::1]", "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]", "[::ffff:169.254.169.254]", "[::127.0.0.1]", "[64:ff9b::7f00:1]", "[64:ff9b::a9fe:a9fe]",
    "[2002:7f00:1::]", "[2001:db8::1]", "[fe80::1%25eth0]", "\uff11\uff12\uff17.0.0.1", "127.0.0.1.", "localhost",
]  # fmt: skip
STRANGE = [
    "http://example.com/", "file:///etc/passwd", "ftp://example.com/", "gopher://example.com/", "//example.com/",
    "example.com", "", "https://", "https://[", "https://[::1", "https:///etc", "https://user:pw@example.com/",
    "https://example.com@10.0.0.1/", "https://10.0.0.1\\@example.com/", "https://exam\x00ple.com/",
    "https://example.com/\r\nx-a: b", "https://example.com\t.evil/", "https://example.com:0/", "https://example.com:99999/",
    "https://example.com:abc/", "https://1.2.3.4.5/", "https://%31%32%37.0.0.1/", "javascript:alert(1)", "data:,x",
    "https://exa\u2100mple.com/", "unix:///run/x.sock",
]  # fmt: skip


def allow_all(_: str) -> bool:
    return True


def names(**addresses: str):  # type: ignore[no-untyped-def] # the type is ssrfguard's
    """A resolver that knows these names (with _ for .) and nobody else's."""

    def resolver(host: str, port: int, *_: object, **__: object) -> list[tuple[int, int, int, str, tuple[object, ...]]]:
        address = addresses.get(host.replace(".", "_"))
        if address is None:  # a number in some notation, as the real one would read it
            return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        where = (address, port, 0, 0) if ":" in address else (address, port)
        return [(family, socket.SOCK_STREAM, 6, "", where)]

    return resolver


def get(url: str) -> HTTPRequest:
    return HTTPRequest(method="GET", url=url)


def sends_on(url: str, status: int = 302, **headers: str) -> Answer:
    return says(status, location=url, **headers)


async def fetched(door: Door, url: str, *, allows_host=allow_all, silence: float = 5.0) -> bytes:  # type: ignore[no-untyped-def]
    async with door.fetch(url, allows_host=allows_host, silence_seconds=silence) as incoming:
        assert incoming.status == 200
        return b"".join([chunk async for chunk in incoming.chunks])


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    async with Door(allowed_networks=(LOOPBACK,)) as opened:
        yield opened


@pytest.fixture
async def shut() -> AsyncIterator[Door]:
    """Without exceptions; every name is public."""
    async with Door(resolver=names(example_com="93.184.215.14", localhost="127.0.0.1")) as opened:
        yield opened


@pytest.mark.parametrize("host", PRIVATE)
async def test_no_private_address_is_talked_to_however_it_is_written(shut: Door, host: str) -> None:
    url = f"https://{host}/hooks?{QUERY}"
    for refused in (shut.check(url), shut.send(get(url)), fetched(shut, url)):
        with pytest.raises(NetworkRefused) as caught:
            await refused
        assert "geheim" not in str(caught.value)


@pytest.mark.parametrize("url", STRANGE)
async def test_no_strange_url_is_talked_to(shut: Door, url: str) -> None:
    for refused in (shut.check(url), shut.send(get(url)), fetched(shut, url)):
        with pytest.raises(NetworkRefused):
            await refused


@pytest.mark.parametrize("address", ["10.0.0.1", METADATA, "::1", "::ffff:10.0.0.1", "64:ff9b::a00:1"])
async def test_a_name_that_leads_to_a_private_address_is_refused(address: str) -> None:
    async with Door(resolver=names(example_com=address)) as door:
        for refused in (door.check("https://example.com/"), door.send(get("https://example.com/"))):
            with pytest.raises(NetworkRefused):
                await refused


async def test_a_public_address_may_be_talked_to_by_https_alone(shut: Door) -> None:
    await shut.check("https://example.com/hooks?a=1")
    await shut.check("https://example.com:8443/hooks")
    await shut.check("https://93.184.215.14/")
    with pytest.raises(NetworkRefused, match="use https"):
        await shut.check("http://example.com/hooks")


async def test_a_name_that_cannot_be_resolved_now_may_be_registered_and_is_trouble_when_used(shut: Door) -> None:
    await shut.check("https://nobody.example/")
    with pytest.raises(NetworkTrouble):
        await shut.send(get("https://nobody.example/"))


async def test_only_the_operators_exceptions_are_talked_to(host: Host) -> None:
    url = host.will("/x", says(200, b"here"))
    async with Door() as closed, Door(allowed_networks=("127.0.0.1/32",)) as opened:
        with pytest.raises(NetworkRefused):
            await closed.send(get(url))
        await opened.check(url)
        assert (await opened.send(get(url))).body == b"here"
        for other in ("http://127.0.0.2/", "http://10.0.0.1/", f"http://{METADATA}/", "http://93.184.215.14/"):
            with pytest.raises(NetworkRefused):
                await opened.send(get(other))
    assert host.asked("/x") == 1


def test_exceptions_that_are_no_networks_are_refused() -> None:
    with pytest.raises(ConfigurationError):
        Door(allowed_networks=("nowhere",))


async def test_the_answer_comes_whole_with_status_and_headers(door: Door, host: Host) -> None:
    url = host.will("/x", says(418, b"tea", x_kind="earl", retry_after="7"))
    request = HTTPRequest(method="POST", url=url, headers={"x-a": "b"}, json={"c": 1})
    response = await door.send(request)
    assert (response.status, response.body, response.headers["x-kind"]) == (418, b"tea", "earl")
    method, _, headers, body = host.seen[0]
    assert (method, headers["x-a"], body) == ("POST", "b", b'{"c":1}')


async def test_send_takes_a_redirect_as_an_answer(door: Door, host: Host) -> None:
    url = host.will("/x", sends_on(f"{host.url}/y"))
    host.will("/y", says(200))
    assert (await door.send(get(url))).status == 302
    assert host.asked("/y") == 0


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_fetch_follows_redirects(door: Door, host: Host, status: int) -> None:
    url = host.will("/a", sends_on("/b/../c", status))
    host.will("/c", says(200, b"video"))
    assert await fetched(door, url) == b"video"


async def test_a_redirect_to_a_private_address_is_refused(host: Host) -> None:
    async with a_host("127.0.0.2") as private, Door(allowed_networks=("127.0.0.1/32",)) as door:
        private.will("/secret", says(200, b"secret"))
        for target in (
            f"{private.url}/secret?{QUERY}",
            f"http://{METADATA}/latest?{QUERY}",
            f"//[::ffff:127.0.0.2]/?{QUERY}",
            f"https://10.0.0.1/?{QUERY}",
            "file:///etc/passwd",
            "http://[",
            "https://[::1",
        ):
            url = host.will("/x", sends_on(target))
            # An address that is none may also count as a broken answer.
            with pytest.raises((NetworkRefused, NetworkTrouble) if "[" in target else NetworkRefused) as caught:
                await fetched(door, url)
            assert "geheim" not in str(caught.value)
        assert private.seen == []


async def test_the_host_list_holds_at_every_hop(door: Door, host: Host) -> None:
    async with a_host("127.0.0.3") as other:
        asked: list[str] = []

        def allows_host(name: str) -> bool:
            asked.append(name)
            return name == "127.0.0.1"

        url = host.will("/x", sends_on("/y"))
        host.will("/y", sends_on(f"{other.url}/z?{QUERY}"))
        with pytest.raises(HostNotListed) as caught:
            await fetched(door, url, allows_host=allows_host)
        assert asked == ["127.0.0.1", "127.0.0.1", "127.0.0.3"]
        assert other.seen == []
        assert "geheim" not in str(caught.value)


async def test_the_host_list_is_asked_in_lower_case_without_port_or_final_dot() -> None:
    asked: list[str] = []
    async with Door() as door:
        for url in ("https://V3.FAL.media:8443/x", "https://v3.fal.media./x", "https://u@v3.fal.media/x"):
            with pytest.raises(NetworkRefused):
                await fetched(door, url, allows_host=lambda name: bool(asked.append(name)))  # type: ignore[func-returns-value]
    assert asked == ["v3.fal.media"] * 3


async def test_redirects_are_counted(door: Door, host: Host) -> None:
    for number in range(MAX_REDIRECTS):
        host.will(f"/{number}", sends_on(f"/{number + 1}"))
    host.will(f"/{MAX_REDIRECTS}", says(200, b"at last"))
    assert await fetched(door, f"{host.url}/0") == b"at last"
    loop = host.will("/loop", sends_on("/loop"))
    with pytest.raises(NetworkRefused, match="redirects"):
        await fetched(door, loop)
    assert host.asked("/loop") == MAX_REDIRECTS + 1


async def test_nothing_of_one_host_is_carried_to_another(door: Door, host: Host) -> None:
    async with a_host() as other:
        other.will("/y", says(200, b"video"))
        url = host.will("/x", sends_on(f"{other.url}/y", set_cookie="session=geheim; Path=/"))
        assert await fetched(door, url) == b"video"
        await door.send(HTTPRequest(method="GET", url=url, headers={"authorization": "Bearer geheim"}))
        await door.send(get(f"{other.url}/y"))
        await fetched(door, url)
    for *_, headers, _ in other.seen:
        assert {"cookie", "authorization", "referer"}.isdisjoint(headers)
        assert "geheim" not in str(headers)


@pytest.mark.parametrize("compressed", [False, True])
async def test_an_answer_over_the_limit_is_refused(door: Door, host: Host, compressed: bool) -> None:
    content = b"x" * 10_001
    plain, packed = says(200, content), says(200, gzip.compress(content), content_encoding="gzip")
    url = host.will("/x", packed if compressed else plain)
    assert len((await door.send(get(url), max_bytes=10_001)).body) == 10_001
    with pytest.raises(AnswerTooLarge):
        await door.send(get(url), max_bytes=10_000)


async def test_an_endless_answer_is_cut_off(door: Door, host: Host) -> None:
    with pytest.raises(AnswerTooLarge):
        await door.send(get(host.will("/x", drips(0, b"x" * 65536))))


async def test_send_bounds_the_whole_exchange(door: Door, host: Host) -> None:
    for url in (host.will("/drips", drips(0.02)), host.will("/silent", waits(20, says(200)))):
        started = time.monotonic()
        with pytest.raises(NetworkTrouble):
            await door.send(get(f"{url}?{QUERY}"), timeout_seconds=0.3)
        assert time.monotonic() - started < 15


async def test_fetch_bounds_the_silence_and_not_the_whole(door: Door, host: Host) -> None:
    assert await fetched(door, host.will("/slow", drips(0.12, times=5)), silence=0.4) == b"xxxxx"
    started = time.monotonic()
    with pytest.raises(NetworkTrouble):
        await fetched(door, host.will("/silent", drips(20)), silence=0.3)
    assert time.monotonic() - started < 15


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"garbage\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nfew",
        b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 3\r\n\r\nxyz",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    ],
)
async def test_a_broken_answer_is_trouble_without_the_url(door: Door, answer: bytes) -> None:
    async def script(writer: asyncio.StreamWriter) -> None:
        writer.write(answer)

    async with raw_host(script) as url:
        with pytest.raises(NetworkTrouble) as caught:
            await door.send(get(f"{url}/x?{QUERY}"))
    assert "geheim" not in str(caught.value)


async def test_headers_that_drip_do_not_take_for_ever(door: Door) -> None:
    async def script(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nx-slow: ")
        for _ in range(400):
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.02)

    async with raw_host(script) as url, asyncio.timeout(30):
        with pytest.raises(NetworkTrouble, match="headers did not come in time"):
            async with door.fetch(f"{url}/x?{QUERY}", allows_host=allow_all, silence_seconds=0.2):
                raise AssertionError


@pytest.mark.parametrize("error", [UnicodeError("ours"), httpx.ConnectError("ours"), httpx.InvalidURL("ours")])
async def test_what_the_reader_of_an_answer_raises_is_not_taken_for_the_networks(
    door: Door, host: Host, error: Exception
) -> None:
    url = host.will("/one", says(200, b"x"))

    async def fetch() -> None:
        async with door.fetch(url, allows_host=allow_all):
            raise error

    async def answer() -> None:
        async with door.answer(get(url), silence_seconds=5) as incoming:
            async for _ in incoming.chunks:
                raise error

    for reader in (fetch, answer):
        with pytest.raises(type(error)) as raised:
            await reader()
        assert raised.value is error
    assert (await door.send(get(url))).status == 200  # and the connection went back


async def test_nobody_listening_is_trouble(door: Door) -> None:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        port = bound.getsockname()[1]
    for used in (
        door.send(get(f"http://127.0.0.1:{port}/?{QUERY}")),
        fetched(door, f"http://127.0.0.1:{port}/?{QUERY}"),
    ):
        with pytest.raises(NetworkTrouble) as caught:
            await used
        assert "geheim" not in str(caught.value)


async def test_proxies_of_the_environment_are_not_used(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    async with Door(allowed_networks=(LOOPBACK,)) as door:
        assert (await door.send(get(host.will("/x", says(200, b"direct"))))).body == b"direct"
