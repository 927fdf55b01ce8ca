"""The door against those who mean it: private addresses in every notation, names that lie, redirects astray."""

import socket
from collections.abc import AsyncIterator

import pytest

from replyhook.messages import HTTPRequest
from replyhook_receiver.errors import NetworkRefused, NetworkTrouble
from replyhook_receiver.net import Door, _next_hop
from tests.receiver.name_server import a_name_server
from tests.receiver.support import LOOPBACK, Host, a_host, says

PUBLIC = "93.184.215.14"
QUERY = "token=geheim"

# As a media link, each with its scheme: what the tables of test_net.py do not hold yet.
TARGETS = [
    # IPv4 in other notations
    "https://127.0.1/", "https://127.1.1/", "https://0x7f.1/", "https://0177.1/", "https://0x7F000001/",
    "https://00000177.0.0.1/", "https://127.0.0.1:443/", "https://3232235521/", "https://0xc0a80001/",
    "https://\u2460\u2461\u2466.0.0.1/", "https://127\u30020\u30020\u30021/", "https://1\u00b2\u2077.0.0.1/",
    # what is not for everybody
    "https://10.255.255.255/", "https://172.31.255.254/", "https://100.127.255.254/", "https://192.88.99.1/",
    "https://192.0.2.1/", "https://198.51.100.1/", "https://203.0.113.1/", "https://240.0.0.1/", "https://0.1.2.3/",
    "https://239.255.255.250/", "https://224.0.0.251/", "https://169.254.169.253/", "https://168.63.129.16.nip/",
    # metadata services
    "https://169.254.169.254/latest/meta-data/", "https://169.254.170.2/v2/credentials", "https://100.100.100.200/",
    "https://[fd00:ec2::254]/latest", "https://[fe80::a9fe:a9fe]/", "https://192.0.0.192/opc/v2/",
    # IPv6 and what is wrapped in it
    "https://[0:0:0:0:0:0:0:1]/", "https://[::ffff:0:127.0.0.1]/", "https://[::ffff:a9fe:a9fe]/",
    "https://[64:ff9b:1::7f00:1]/", "https://[2002:a00:1::1]/", "https://[2002:a9fe:a9fe::]/",
    "https://[2001:0:4136:e378:8000:63bf:80ff:fffe]/", "https://[2001::1]/", "https://[ff05::1:3]/",
    "https://[ff0e::1]/", "https://[100::1]/", "https://[3fff::1]/", "https://[fe80::1%25lo]/",
    # names, dots, users, ports, other schemes
    "https://localhost./", "https://LOCALHOST/", "https://metadata.internal/", "https://127.0.0.1./", "https://10.1./",
    "https://public.example@127.0.0.1/", "https://127.0.0.1#@public.example/", "https://127.0.0.1\\@public.example/",
    "https://public.example:0/", "https://public.example:65536/", "https://public.example:443@127.0.0.1/",
    "http://public.example/", "HTTP://public.example/", "ftp://public.example/", "file://public.example/etc/passwd",
]  # fmt: skip


@pytest.fixture
async def shut() -> AsyncIterator[Door]:
    """Without exceptions; its names come from a real name server."""
    known = {"localhost": [["127.0.0.1", "::1"]], "metadata_internal": [["169.254.169.254"]]}
    async with (
        a_name_server(public_example=[[PUBLIC]], **known) as server,
        Door(resolver=numbers_or(server.resolve)) as door,
    ):
        yield door


def numbers_or(ask):  # type: ignore[no-untyped-def] # both are getaddrinfo
    """Numbers in any notation as the machine reads them; names from the name server."""

    def resolver(host: str, port: int, *_: object, **__: object):  # type: ignore[no-untyped-def]
        try:
            return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        except socket.gaierror:
            return ask(host, port)

    return resolver


async def fetched(door: Door, url: str, **more: object) -> bytes:
    async with door.fetch(url, allows_host=lambda _: True, silence_seconds=5, **more) as incoming:  # type: ignore[arg-type]
        return b"".join([chunk async for chunk in incoming.chunks])


def test_there_are_at_least_forty() -> None:
    assert len(set(TARGETS)) >= 40


@pytest.mark.parametrize("url", TARGETS)
async def test_no_hostile_target_is_fetched(shut: Door, url: str) -> None:
    mark = "&" if "?" in url else "?"
    # A name that nobody knows is no private address, but nothing is fetched from it either.
    allowed = (NetworkRefused, NetworkTrouble) if url.endswith(".nip/") else NetworkRefused
    with pytest.raises(allowed) as caught:
        await fetched(shut, f"{url}{mark}{QUERY}")
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize("url", TARGETS)
async def test_no_redirect_leads_to_a_hostile_target(host: Host, url: str) -> None:
    """From a host that is allowed, by an operator who has excepted that one address alone."""
    async with (
        a_name_server(public_example=[[PUBLIC]], localhost=[["127.0.0.2"]], metadata_internal=[["10.0.0.1"]]) as server,
        Door(allowed_networks=("127.0.0.1/32",), resolver=numbers_or(server.resolve)) as door,
    ):
        # Whatever means the excepted address itself is no stranger; one beside it is.
        target = url.replace("127.0.0.1", "127.0.0.9")
        location = target.encode("ascii", "ignore").decode() if not target.isascii() else target
        first = host.will("/one.mp4", says(302, location="/two.mp4"))
        host.will("/two.mp4", says(307, location=location))
        if is_the_excepted_one(location):
            return
        with pytest.raises((NetworkRefused, NetworkTrouble)):
            await fetched(door, first)


def is_the_excepted_one(url: str) -> bool:
    own = ("0x7f.1", "0177.1", "127.0.1/", "0x7F000001", "00000177.0.0.1", "/.0.0.1", "ffff:0:127", "64:ff9b:1::7f00:1")
    return any(text in url for text in own)


async def test_a_name_that_is_public_when_it_is_checked_and_private_afterwards_leads_nowhere(host: Host) -> None:
    async with (
        a_name_server(rebind_example=[[PUBLIC], ["127.0.0.1"]]) as server,
        Door(resolver=server.resolve) as door,
    ):
        url = f"https://rebind.example:{host.url.rpartition(':')[2]}/secret"
        await door.check(url)
        with pytest.raises(NetworkRefused, match="not a public one"):
            await fetched(door, url)
        with pytest.raises(NetworkRefused):
            await door.send(HTTPRequest(method="GET", url=url))
    assert len(server.asked) == 6  # an A and an AAAA each time: what was found before is not believed
    assert host.seen == []


async def test_what_was_checked_is_what_is_connected_to(host: Host) -> None:
    """Within one request the name is asked for once: there is no second answer to be led astray by."""
    answers = [["127.0.0.1"], ["127.0.0.2"]]
    async with (
        a_host("127.0.0.2") as other,
        a_name_server(rebind_example=answers) as server,
        Door(allowed_networks=("127.0.0.1/32",), resolver=server.resolve) as door,
    ):
        host.will("/x", says(200, b"the checked one"))
        url = f"http://rebind.example:{host.url.rpartition(':')[2]}/x"
        assert await fetched(door, url) == b"the checked one"
        assert server.asked == ["rebind.example A", "rebind.example AAAA"]
        assert other.seen == []


@pytest.mark.parametrize(
    "addresses",
    [[PUBLIC, "10.0.0.1"], ["10.0.0.1", PUBLIC], [PUBLIC, "::1"], [PUBLIC, "64:ff9b::7f00:1"], ["2002:7f00:1::"]],
)
async def test_one_private_address_among_a_names_answers_is_enough(addresses: list[str]) -> None:
    async with a_name_server(mixed_example=[addresses]) as server, Door(resolver=server.resolve) as door:
        for refused in (door.check("https://mixed.example/"), fetched(door, "https://mixed.example/")):
            with pytest.raises(NetworkRefused):
                await refused


async def test_a_redirect_to_a_name_that_turns_private_is_refused(host: Host) -> None:
    async with (
        a_name_server(later_example=[["127.0.0.1"], ["127.0.0.2"]]) as server,
        Door(allowed_networks=("127.0.0.1/32",), resolver=server.resolve) as door,
    ):
        port = host.url.rpartition(":")[2]
        host.will("/one", says(302, location=f"http://later.example:{port}/two", connection="close"))
        host.will("/two", says(302, location=f"http://later.example:{port}/three", connection="close"))
        with pytest.raises(NetworkRefused):
            await fetched(door, f"http://later.example:{port}/one")
    assert [seen[1] for seen in host.seen] == ["/one"]


def test_from_https_no_redirect_leads_to_plain_http() -> None:
    with pytest.raises(NetworkRefused, match="from https"):
        _next_hop("https://media.example/one.mp4", f"http://127.0.0.1/one.mp4?{QUERY}")
    with pytest.raises(NetworkRefused):
        _next_hop("HTTPS://media.example/one.mp4", "ftp://media.example/one.mp4")
    assert _next_hop("https://media.example/one.mp4", "//other.example/") == "https://other.example/"
    assert _next_hop("http://media.example/one.mp4", "https://other.example/") == "https://other.example/"


async def test_plain_http_on_an_https_port_is_trouble_and_no_answer(host: Host) -> None:
    async with Door(allowed_networks=(LOOPBACK,)) as door:
        with pytest.raises(NetworkTrouble):
            await fetched(door, host.url.replace("http://", "https://"))


async def test_the_headers_of_a_fetch_go_along_and_no_others(host: Host) -> None:
    async with a_host() as other, Door(allowed_networks=(LOOPBACK,)) as door:
        other.will("/y", says(206, b"rest"))
        url = host.will("/x", says(302, location=f"{other.url}/y", set_cookie="session=geheim; Path=/"))
        headers = {"range": "bytes=5-", "if-range": '"v1"'}
        assert await fetched(door, url, headers=headers) == b"rest"
        sent = other.seen[0][2]
        assert (sent["range"], sent["if-range"]) == ("bytes=5-", '"v1"')
        assert set(sent) == {"host", "accept", "accept-encoding", "connection", "user-agent", "range", "if-range"}
