"""The one door to the outside: everything the receiver fetches or posts goes through here.

The address a name resolves to is checked where the connection is made (ssrfguard resolves once and connects to what it
checked), on every hop. Outward only https; plain http only to the networks the operator has excepted. No proxies, no
credentials or cookies carried to another host, every answer bounded in bytes and time.
"""

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_network
from types import TracebackType
from urllib.parse import urljoin, urlsplit

import httpx
import ssrfguard
from ssrfguard.httpx import AsyncClient

from replyhook.certificates import usual_certificates
from replyhook.errors import ConfigurationError
from replyhook.messages import HTTPRequest, HTTPResponse
from replyhook_receiver.errors import AnswerTooLarge, HostNotListed, NetworkRefused, NetworkTrouble, Unreachable

# httpx logs whole URLs at INFO, and ours hold tokens and signed links.
for _name in ("httpx", "httpcore"):  # and httpcore, at DEBUG, the headers of answers, which hold links as well
    logging.getLogger(_name).setLevel(logging.WARNING)

MAX_REDIRECTS = 5
MAX_ANSWER_BYTES = 1024 * 1024
_RESOLVE_SECONDS = 5.0
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.LocalProtocolError)
_HEADERS_WAITS = 3  # a connection, a place on it, the answer: headers that drip must not take for ever
_ALL_PORTS = frozenset(range(1, 65536))
_OWN_RULE = "our own rule"
_PUBLIC_ONLY = ssrfguard.AddressTable(
    (
        *ssrfguard.DEFAULT_DENIED.blocks,
        # IPv4 as some networks translate it (RFC 7915): a private address may be inside, and the table has it not.
        ssrfguard.Block(
            network=ip_network("::ffff:0:0:0/96"), name="translated IPv4", rfc="RFC 7915", reach=ssrfguard.Reach.DENIED
        ),
    )
)
_NOTHING_BUT_EXCEPTIONS = ssrfguard.AddressTable(
    tuple(
        ssrfguard.Block(network=ip_network(everything), name="plain http", rfc=_OWN_RULE, reach=ssrfguard.Reach.DENIED)
        for everything in ("0.0.0.0/0", "::/0")
    )
)

NOT_PUBLIC = "the address is not a public one"
_HTTPS_ONLY = "plain http is only for networks in REPLYHOOK_ALLOWED_NETWORKS; use https"

HostRule = Callable[[str], bool]
_NO_HEADERS: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """An answer whose body is still to come, in chunks as they come."""

    status: int
    headers: Mapping[str, str]
    chunks: AsyncIterator[bytes]


@lru_cache(maxsize=8)
def _policy(scheme: str, exceptions: tuple[IPv4Network | IPv6Network, ...]) -> ssrfguard.Policy:
    """Whom we talk to over https, or over plain http. Raises ``ValueError``."""
    return ssrfguard.Policy(
        allowed_schemes=frozenset({scheme}),
        denied_networks=_PUBLIC_ONLY if scheme == "https" else _NOTHING_BUT_EXCEPTIONS,
        allowed_networks=exceptions,
        allowed_ports=_ALL_PORTS,
        max_redirects=MAX_REDIRECTS,
    )


class Door:
    """Sends requests to the outside. ``allowed_networks`` are the operator's exceptions to "no private address"."""

    def __init__(
        self,
        *,
        allowed_networks: Sequence[str] = (),
        resolver: ssrfguard.Resolver | None = None,
        connections: int = 100,
    ) -> None:
        try:
            exceptions = tuple(ip_network(text, strict=False) for text in allowed_networks)
            self._https, self._http = _policy("https", exceptions), _policy("http", exceptions)
        except ValueError as error:
            raise ConfigurationError(f"allowed_networks cannot be read: {error}") from error
        self._resolver = resolver
        limits = httpx.Limits(max_connections=connections, max_keepalive_connections=20)
        self._clients = {
            policy: AsyncClient(
                policy=policy, resolver=resolver, limits=limits, trust_env=False, verify=usual_certificates()
            )
            for policy in (self._https, self._http)
        }

    async def __aenter__(self) -> "Door":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for client in self._clients.values():
            await client.aclose()

    async def check(self, url: str) -> None:
        """Raise ``NetworkRefused`` when we would never talk to ``url``. A name that does not resolve now may pass."""
        policy, target = self._target(url)
        if policy is self._http and not policy.allowed_networks:
            raise NetworkRefused(_HTTPS_ONLY)
        try:
            async with asyncio.timeout(_RESOLVE_SECONDS):
                await asyncio.to_thread(ssrfguard.resolve, target, policy=policy, resolver=self._resolver)
        except ssrfguard.SSRFGuardError as error:
            raise NetworkRefused(_why(error)) from error
        except (OSError, ValueError):
            return

    async def send(
        self,
        request: HTTPRequest,
        *,
        timeout_seconds: float = 15.0,
        max_bytes: int = MAX_ANSWER_BYTES,
        cut: bool = False,
    ) -> HTTPResponse:
        """The answer to one request; a redirect is an answer like any other. ``cut`` takes the start of a longer one.

        Raises ``NetworkRefused``, ``NetworkTrouble`` (time-out of the whole exchange included), ``AnswerTooLarge``.
        """
        try:
            async with asyncio.timeout(timeout_seconds), self._open(request, timeout_seconds) as response:
                body = bytearray()
                with _receiving():
                    async for chunk in response.aiter_bytes():
                        body += chunk
                        if cut and len(body) >= max_bytes:
                            break
                        if len(body) > max_bytes:
                            raise AnswerTooLarge(f"the answer is larger than {max_bytes} bytes")
                return HTTPResponse(status=response.status_code, headers=_headers(response), body=bytes(body))
        except TimeoutError as error:
            raise NetworkTrouble(f"no whole answer within {timeout_seconds:g} s") from error

    @asynccontextmanager
    async def answer(self, request: HTTPRequest, *, silence_seconds: float) -> AsyncIterator[Incoming]:
        """The answer to one request, its body still to come; a redirect is an answer like any other.

        Raises ``NetworkRefused``, ``Unreachable`` (nothing was sent), ``NetworkTrouble`` (something may have been).
        """
        async with self._open(request, silence_seconds) as response:
            yield Incoming(status=response.status_code, headers=_headers(response), chunks=_chunks(response))

    @asynccontextmanager
    async def fetch(
        self,
        url: str,
        *,
        allows_host: HostRule,
        headers: Mapping[str, str] = _NO_HEADERS,
        silence_seconds: float = 30.0,
    ) -> AsyncIterator[Incoming]:
        """Get ``url``, following at most 5 redirects; every hop's host must be allowed and its address public.

        ``headers`` go to every hop, so they hold no credentials; from https no redirect leads to http.
        ``silence_seconds`` bounds the wait for the next bytes. Raises ``HostNotListed``, ``NetworkRefused``,
        ``NetworkTrouble``.
        """
        for _ in range(MAX_REDIRECTS + 1):
            host = _host(url)
            if not allows_host(host):
                raise HostNotListed(f"the host {host!r} is not one of the provider's media hosts")
            request = HTTPRequest(method="GET", url=url, headers=headers)
            async with self._open(request, silence_seconds) as response:
                location = response.headers.get("location")
                if response.status_code not in (301, 302, 303, 307, 308) or location is None:
                    yield Incoming(status=response.status_code, headers=_headers(response), chunks=_chunks(response))
                    return
            url = _next_hop(url, location)
        raise NetworkRefused(f"more than {MAX_REDIRECTS} redirects")

    @asynccontextmanager
    async def _open(self, request: HTTPRequest, timeout_seconds: float) -> AsyncIterator[httpx.Response]:
        policy, _ = self._target(request.url)
        headers = {"accept-encoding": "identity", **request.headers}  # unpacked bytes could not be counted in time
        if request.fresh_id_header is not None:
            headers[request.fresh_id_header] = str(uuid.uuid4())
        timeout = httpx.Timeout(timeout_seconds, connect=min(10.0, timeout_seconds))
        client = self._clients[policy]
        try:
            with _sending():
                outgoing = client.build_request(
                    request.method,
                    request.url,
                    headers=headers,
                    json=request.json,
                    content=request.body,
                    timeout=timeout,
                )
                async with asyncio.timeout(_HEADERS_WAITS * timeout_seconds):
                    response = await client.send(outgoing, stream=True, follow_redirects=False)
        finally:
            client.cookies.clear()
        try:
            response.cookies.clear()
            yield response  # what is raised there is the caller's own, whatever its type
        finally:
            with suppress(httpx.HTTPError):  # what goes wrong in closing changes nothing of what was received
                await response.aclose()

    def _target(self, url: str) -> tuple[ssrfguard.Policy, ssrfguard.Target]:
        policy = self._http if url[:7].lower() == "http://" else self._https
        try:
            return policy, policy.check_url(url)
        except ssrfguard.SSRFGuardError as error:
            raise NetworkRefused(_why(error)) from error


def _why(error: ssrfguard.SSRFGuardError) -> str:
    """The reason without the URL, which may hold a token or a signature."""
    if _OWN_RULE in str(error):
        return _HTTPS_ONLY
    if isinstance(error, ssrfguard.BlockedAddressError):
        return f"{NOT_PUBLIC} ({error.reason})"
    if isinstance(error, ssrfguard.BlockedURLError):
        if "allowed_schemes" in error.reason:
            return "only https:// addresses are talked to"
        return f"the URL is not permitted: {error.reason}"
    return type(error).__name__


def _next_hop(url: str, location: str) -> str:
    try:
        target = urljoin(url, location)
    except ValueError as error:
        raise NetworkRefused("redirected to what is not a URL") from error
    if url[:8].lower() == "https://" and target[:8].lower() != "https://":
        raise NetworkRefused("redirected from https to what is not")
    return target


def _host(url: str) -> str:
    try:
        return (urlsplit(url).hostname or "").rstrip(".").lower()
    except ValueError:
        return ""


def _headers(response: httpx.Response) -> dict[str, str]:
    return {name.lower(): value for name, value in response.headers.items()}


async def _chunks(response: httpx.Response) -> AsyncIterator[bytes]:
    coming = response.aiter_raw()  # as they come: a size would hold back what drips, and lose it at a cut
    while True:
        with _receiving():
            chunk = await anext(coming, None)
        if chunk is None:
            return
        yield chunk


@contextmanager
def _sending() -> Iterator[None]:
    """What goes wrong until the answer's headers are there."""
    try:
        yield
    except ssrfguard.SSRFGuardError as error:
        raise NetworkRefused(_why(error)) from error
    except TimeoutError as error:
        raise NetworkTrouble("the answer's headers did not come in time") from error
    except UnicodeError as error:
        raise NetworkRefused("the host's name cannot be encoded") from error
    except _NEVER_SENT as error:
        raise Unreachable(type(error).__name__) from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise NetworkTrouble(type(error).__name__) from error


@contextmanager
def _receiving() -> Iterator[None]:
    """What goes wrong with an answer's body: something was sent by then."""
    try:
        yield
    except httpx.HTTPError as error:
        raise NetworkTrouble(type(error).__name__) from error
